"""What a workspace holds: every artefact with its lineage, size and age."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cache.artefact import KINDS, list_artefacts, read_provenance
from cache.garbage import folder_bytes

_AGE_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True)
class ArtefactStatus:
    """One finished artefact.

    Attributes:
        kind: Of the artefact.
        key: Of the artefact.
        made_from: Keys of its inputs.
        size_bytes: Of all its files.
        age_seconds: Since it was made.
    """

    kind: str
    key: str
    made_from: tuple[str, ...]
    size_bytes: int
    age_seconds: float


def read_status(workspace: Path) -> Iterator[ArtefactStatus]:
    """Yields the finished artefacts of a workspace in stage order."""
    now = datetime.now(UTC)
    for directory in list_artefacts(workspace):
        provenance = read_provenance(directory)
        yield ArtefactStatus(
            provenance["kind"],
            provenance["key"],
            tuple(f"{name} {key[:16]}" for name, key in provenance["inputs"].items()),
            folder_bytes(directory),
            (now - datetime.fromisoformat(provenance["created"])).total_seconds(),
        )


def format_status(artefacts: list[ArtefactStatus], workspace: Path) -> str:
    """Returns the artefacts as an aligned table, with unfinished work below it."""
    if not artefacts:
        return f"{workspace} holds no artefact yet."
    width = max(len(kind) for kind in KINDS)
    lines = [f"{'kind':{width}}  {'key':16}  {'size':>9}  {'age':>7}  made from"]
    lines += [
        f"{artefact.kind:{width}}  {artefact.key}  {format_size(artefact.size_bytes):>9}  "
        f"{_format_age(artefact.age_seconds):>7}  {', '.join(artefact.made_from) or '-'}"
        for artefact in artefacts
    ]
    staging = workspace / ".staging"
    unfinished = sorted(path.name for path in staging.iterdir() if path.is_dir()) if staging.is_dir() else []
    lines += [f"unfinished: {name} (goes on or starts again at the next run)" for name in unfinished]
    return "\n".join(lines)


def format_size(size_bytes: int) -> str:
    """Returns a size in the largest unit that leaves a digit before the point."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _format_age(seconds: float) -> str:
    for unit, length in _AGE_UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
