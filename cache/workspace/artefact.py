"""Artefacts: immutable directories whose name is the hash of all that made them.

An existing artefact is the result of its recipe. So nothing is computed twice, and a changed setting never meets a
stale result.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cache.workspace.atomic_files import write_atomically

KINDS = ("features", "catalogues", "splits", "runs", "predictions", "reports", "sweeps", "comparisons")
PROVENANCE = "provenance.json"
RECORDED_PACKAGES = (
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
"""Packages whose versions an artefact records."""


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


def content_key(value: Any) -> str:
    """Returns 16 hex digits of the sha256 of a value's canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_key(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hex."""
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
        "packages": {name: _installed_version(name) for name in RECORDED_PACKAGES},
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


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
