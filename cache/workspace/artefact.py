"""Content-keyed, immutable artefact directories in a workspace.

The key of an artefact is a hash of all that made it, so an existing directory is the result: nothing is
computed twice, and a changed setting never meets a stale result.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from cache.workspace.builders import at_work
from cache.workspace.mirror import Mirror

logger = logging.getLogger(__name__)

KINDS = ("features", "catalogues", "splits", "runs", "predictions", "reports", "sweeps", "comparisons")
PROVENANCE = "provenance.json"
_RECORDED_PACKAGES = (
    "birdclef",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "av",
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
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def materialise(workspace: Path, recipe: Recipe, build: Callable[[Path], None], *, resumable: bool = False) -> Path:
    """Returns the directory of the recipe's artefact, built now if it does not exist yet.

    In a workspace that mirrors a URL, what is there is fetched, and what is built here is sent there.

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
        if is_finished(final) or fetch_artefact(final, workspace):
            shutil.rmtree(staging, ignore_errors=True)
            return final
        mirror = Mirror.of(workspace)
        if not resumable:
            shutil.rmtree(staging, ignore_errors=True)
        elif mirror and not staging.exists():
            _fetch_unfinished(mirror, staging)
        staging.mkdir(exist_ok=True)
        started = time.monotonic()
        build(staging)
        write_provenance(staging, recipe, seconds=time.monotonic() - started)
        if mirror:
            mirror.send(staging, final, last=PROVENANCE)
            mirror.remove(staging)
        final.parent.mkdir(parents=True, exist_ok=True)
        _clear_remains(final)
        staging.rename(final)
    return final


def _fetch_unfinished(mirror: Mirror, staging: Path) -> None:
    """Have in staging, whole or not at all, what a killed build on any machine left at the URL."""
    incoming = staging.with_name(f"incoming-{staging.name}")
    shutil.rmtree(incoming, ignore_errors=True)
    mirror.fetch(staging, incoming, list(mirror.sizes(staging)))
    incoming.mkdir(exist_ok=True)
    incoming.rename(staging)


def keep_unfinished(staging: Path, *, last: str) -> None:
    """Let a builder on another machine go on from here, if the workspace mirrors a URL.

    Args:
        staging: What a resumable build has so far.
        last: The file in it that makes the others usable.
    """
    if mirror := Mirror.of(staging.parent.parent):
        mirror.send(staging, staging, last=last)


def find_artefact(workspace: Path, kind: str, key: str) -> Path:
    """Returns the directory of an artefact that is not made now, fetched if the workspace mirrors a URL that has it.

    It may turn out not to be there; whoever reads its provenance is told so.
    """
    directory = workspace / kind / key
    if not is_finished(directory):
        fetch_artefact(directory, workspace)
    return directory


def fetch_artefact(final: Path, workspace: Path) -> bool:
    """Returns whether the URL that a workspace mirrors has an artefact, which then is in its directory `final`.

    One whose files are not those that its provenance tells of counts as none.
    """
    mirror = Mirror.of(workspace)
    provenance = mirror.read(final / PROVENANCE) if mirror else None
    if mirror is None or provenance is None:
        return False
    incoming = workspace / ".staging" / f"{final.parent.name}-{final.name}.{uuid.uuid4().hex}"
    try:
        incoming.mkdir(parents=True)
        digests: dict[str, str] = json.loads(provenance)["files"]
        mirror.fetch(final, incoming, list(digests))
        damaged = sorted(name for name, digest in digests.items() if file_key(incoming / name) != digest)
        if damaged:
            logger.warning("%s is damaged (%s): it is made again", mirror.address(final), ", ".join(damaged))
            return False
        (incoming / PROVENANCE).write_bytes(provenance)
        final.parent.mkdir(parents=True, exist_ok=True)
        _clear_remains(final)
        with suppress(OSError):  # another process fetched it meanwhile
            incoming.rename(final)
    except FileNotFoundError as error:
        logger.warning("%s is damaged (%s): it is made again", mirror.address(final), error)
        return False
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return is_finished(final)


def _clear_remains(final: Path) -> None:
    """Remove what an interrupted removal or copy left in the place of an artefact."""
    if not is_finished(final):
        shutil.rmtree(final, ignore_errors=True)


def is_finished(directory: Path) -> bool:
    """Whether the directory holds a published artefact."""
    return (directory / PROVENANCE).is_file()


def write_provenance(directory: Path, recipe: Recipe, seconds: float) -> None:
    """Write `provenance.json`: the recipe, the sha256 of all files, and when, how long and on what it was made."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    record = {
        **asdict(recipe),
        "key": recipe.key,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "files": {path.relative_to(directory).as_posix(): file_key(path) for path in files},
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


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file that is either complete or absent, even if the machine dies; text as UTF-8."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
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
