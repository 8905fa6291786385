"""Artefacts: immutable directories. The name of an artefact is a hash of its recipe.

If the artefact of a recipe exists, it is the recipe's result. So no result is computed twice, and a changed setting
never gets an old result.
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

KINDS = (
    "features",
    "catalogues",
    "backgrounds",
    "splits",
    "runs",
    "predictions",
    "reports",
    "held_out",
    "sweeps",
    "comparisons",
)
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
    """Everything that defines an artefact.

    Attributes:
        kind: One of `KINDS`.
        config: Fields of the configuration section that define the result, as JSON values.
        inputs: Key or content hash of each input, by name.
        version: Version of the computation; raised by hand when the same inputs give another result.
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
    """Write `provenance.json`: the recipe, the sha256 of all files, time and duration of the build, and the machine.

    Args:
        directory: Directory of the artefact.
        recipe: Recipe of the artefact.
        seconds: Duration of the build.
    """
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
            "Run the stage that builds it, or give one of the directories that `birdclef status` lists."
        )
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def artefact_key(directory: Path) -> str:
    """Returns the key of a finished artefact, as its provenance states it."""
    return str(read_provenance(directory)["key"])


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
