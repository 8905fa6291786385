"""The provenance record of an artefact: its recipe, how it was made, and the digests of its files.

The record is written last, so a directory that has one is a finished artefact.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from cache.workspace.atomic_files import write_atomically
from cache.workspace.file_format import DamagedArtefactError, FileFormat
from cache.workspace.keys import Recipe, file_key

PROVENANCE = "provenance.json"


def _check_time(text: str) -> str:
    """Returns a time that states its zone, so that ages can be told."""
    with suppress(ValueError):
        if datetime.fromisoformat(text).tzinfo:
            return text
    raise ValueError("it should be a time with its zone, such as 2026-11-30T16:37:59+00:00")


class _Settings(TypedDict, total=False):
    """Settings of an artefact that are read again; each kind has some of them."""

    fold: Annotated[int, Field(ge=0)]
    folds: Annotated[int, Field(ge=1)] | list[int]
    fold_column: str | None
    test_share: Annotated[float, Field(ge=0, lt=1)]
    group_by: str
    baseline: str
    zero_shot: str
    model: dict[str, Any]


class _Record(TypedDict, total=False):
    """Content of `provenance.json`."""

    kind: str
    config: _Settings
    inputs: dict[str, str]
    key: str
    created: Annotated[str, AfterValidator(_check_time)]
    seconds: float
    number: int
    files: dict[str, str]
    packages: dict[str, str | None]


PROVENANCE_FORMAT = FileFormat(
    1,
    frozenset({"kind", "config", "inputs", "key"}),
    "Remove the folder of this artefact, and run the same settings again.",
    _Record,
)
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


def is_finished(directory: Path) -> bool:
    """Whether the directory holds a published artefact."""
    return (directory / PROVENANCE).is_file()


def write_provenance(directory: Path, recipe: Recipe, seconds: float, number: int) -> None:
    """Write `provenance.json`: the recipe, the sha256 of all files, time and duration of the build, and the machine.

    A record that a killed build left is replaced, and is no file of the artefact.

    Args:
        directory: Directory of the artefact.
        recipe: Recipe of the artefact.
        seconds: Duration of the build.
        number: Number of the artefact among those of its kind in the workspace; a newer one has a higher number,
            whatever the clock says.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / PROVENANCE)
    record = {
        "format": PROVENANCE_FORMAT.number,
        **asdict(recipe),
        "key": recipe.key,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "number": number,
        "files": {path.relative_to(directory).as_posix(): file_key(path) for path in files},
        "packages": {name: _installed_version(name) for name in RECORDED_PACKAGES},
        "hardware": {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()},
    }
    write_atomically(directory / PROVENANCE, json.dumps(record, indent=2) + "\n")


def read_provenance(directory: Path) -> dict[str, Any]:
    """Returns the artefact's provenance record.

    Raises:
        FileNotFoundError: If the directory holds no finished artefact.
        OtherFormatError: If another version of birdclef made the artefact.
        DamagedArtefactError: If the record is damaged.
    """
    path = directory / PROVENANCE
    if not path.is_file():
        raise FileNotFoundError(
            f"{directory} holds no finished artefact ({PROVENANCE} is missing). "
            "Run the stage that builds it, or give one of the directories that `birdclef status` lists."
        )
    return PROVENANCE_FORMAT.read(path)


def find_damaged(directory: Path, digests: Mapping[str, str] | None = None) -> list[str]:
    """Returns the files of a published artefact that are missing or differ from their digest, by relative path.

    Args:
        directory: Directory of the artefact.
        digests: sha256 of each file to check, by relative path; None: of all files in the provenance record. A record
            that cannot be read is itself damaged.
    """
    if digests is None:
        try:
            digests = read_provenance(directory)["files"]
        except (ValueError, KeyError):
            return [PROVENANCE]
    return sorted(name for name, digest in digests.items() if not _has_digest(directory / name, digest))


def check_files(directory: Path, *names: str) -> None:
    """Check files of a published artefact before they are read.

    Raises:
        DamagedArtefactError: If one of them is missing or differs from its digest.
        FileNotFoundError: If the directory holds no finished artefact.
    """
    digests = read_provenance(directory)["files"]
    if damaged := find_damaged(directory, {name: digests[name] for name in names if name in digests}):
        raise DamagedArtefactError(
            f"{directory} is damaged: {', '.join(damaged)} is not what was published there. Run the same settings "
            "again, which makes it again, or bring the folder back from a backup."
        )


def _has_digest(path: Path, digest: str) -> bool:
    try:
        return file_key(path) == digest
    except OSError:
        return False


def artefact_key(directory: Path) -> str:
    """Returns the key of a finished artefact, as its provenance states it."""
    return str(read_provenance(directory)["key"])


@cache
def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
