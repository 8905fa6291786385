"""Content-keyed, immutable artefact directories in a workspace.

The key of an artefact is a hash of all that made it, so an existing directory is the result: nothing is
computed twice, and a changed setting never meets a stale result.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from cache.work import at_work

KINDS = ("features", "catalogues", "splits", "runs", "predictions", "reports")
PROVENANCE = "provenance.json"
_RECORDED_PACKAGES = (
    "birdclef",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "soundfile",
    "soxr",
    "zarr",
    "torch",
    "timm",
    "lightning",
)


@dataclass(frozen=True)
class Recipe:
    """All that defines an artefact.

    Attributes:
        kind: One of `KINDS`.
        config: Typed configuration section, dumped to JSON values.
        inputs: Name to key (or content hash) of what the artefact is made from.
        version: Number of the code's meaning; raised by hand when the same inputs give other numbers.
    """

    kind: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    version: int

    @property
    def key(self) -> str:
        """First 16 hex digits of the recipe's hash."""
        return content_key(asdict(self))

    def directory(self, workspace: Path) -> Path:
        """Where the finished artefact lies."""
        return workspace / self.kind / self.key


def content_key(value: Any) -> str:
    """Returns 16 hex digits of the sha256 of a value's canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_key(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def materialise(workspace: Path, recipe: Recipe, build: Callable[[Path], None], *, resumable: bool = False) -> Path:
    """Returns the directory of the recipe's artefact, built now if it does not exist yet.

    `build` fills a staging directory that nobody reads; one rename publishes it. A lock that dies with its
    process keeps two builders apart. With `resumable`, what a killed build left in staging is handed to the next
    one; otherwise staging starts empty.
    """
    final = recipe.directory(workspace)
    if is_finished(final):
        return final
    staging = workspace / ".staging" / f"{recipe.kind}-{recipe.key}"
    staging.parent.mkdir(parents=True, exist_ok=True)
    with at_work(workspace), FileLock(f"{staging}.lock"):
        if is_finished(final):
            return final
        if not resumable:
            shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(exist_ok=True)
        started = time.monotonic()
        build(staging)
        write_provenance(staging, recipe, seconds=time.monotonic() - started)
        final.parent.mkdir(parents=True, exist_ok=True)
        staging.rename(final)
    return final


def is_finished(directory: Path) -> bool:
    """Whether the directory holds a published artefact."""
    return (directory / PROVENANCE).is_file()


def write_provenance(directory: Path, recipe: Recipe, seconds: float) -> None:
    """Write `provenance.json`: the recipe, and when, how long and on what it was made."""
    record = {
        **asdict(recipe),
        "key": recipe.key,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "packages": {name: _installed_version(name) for name in _RECORDED_PACKAGES},
        "hardware": {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()},
    }
    write_atomically(directory / PROVENANCE, json.dumps(record, indent=2) + "\n")


def read_provenance(directory: Path) -> dict[str, Any]:
    """Returns the artefact's provenance record.

    Raises:
        FileNotFoundError: If the directory holds no finished artefact.
    """
    path = directory / PROVENANCE
    if not path.is_file():
        raise FileNotFoundError(
            f"{directory} holds no finished artefact ({PROVENANCE} is missing). "
            "Run the stage that makes it, or pass one of the directories that `birdclef status` lists."
        )
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def artefact_key(directory: Path) -> str:
    """Returns the key that a finished artefact records about itself."""
    return str(read_provenance(directory)["key"])


def list_artefacts(workspace: Path) -> Iterator[Path]:
    """Yields every finished artefact of the workspace, by kind and then by name."""
    for kind in KINDS:
        parent = workspace / kind
        if parent.is_dir():
            yield from sorted(path for path in parent.iterdir() if is_finished(path))


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is either complete or absent, even if the machine dies."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def flush_to_disk(path: Path) -> None:
    """Have the system write a file's content to the disk now, so that it outlasts the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
