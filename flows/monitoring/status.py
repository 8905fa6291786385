"""Lists the artefacts of a workspace, each with lineage, size and age."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cache.garbage import folder_bytes
from cache.workspace.builders import is_held
from cache.workspace.keys import KINDS
from cache.workspace.provenance import PROVENANCE, PROVENANCE_FORMAT, read_provenance
from cache.workspace.urls import transfer
from cache.workspace.workspace import Workspace

_AGE_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True)
class ArtefactStatus:
    """One finished artefact.

    Attributes:
        kind: Kind of the artefact, such as `runs`.
        key: Key of the artefact.
        made_from: Names and keys of its inputs.
        size_bytes: Size of all its files, in bytes.
        age_seconds: Seconds since it was made.
    """

    kind: str
    key: str
    made_from: tuple[str, ...]
    size_bytes: int
    age_seconds: float


def read_status(workspace: Workspace) -> Iterator[ArtefactStatus]:
    """Yields the finished artefacts of a workspace in stage order."""
    now = datetime.now(UTC)
    for provenance, size_bytes in _read_artefacts(workspace):
        yield ArtefactStatus(
            provenance["kind"],
            provenance["key"],
            tuple(f"{name} {key[:16]}" for name, key in provenance["inputs"].items()),
            size_bytes,
            (now - datetime.fromisoformat(provenance["created"])).total_seconds(),
        )


def _read_artefacts(workspace: Workspace) -> Iterator[tuple[dict[str, Any], int]]:
    """Yields provenance and size of each finished artefact; reads them at the URL if the workspace mirrors one."""
    mirror, folder = workspace.mirror, workspace.directory
    if mirror is None:
        for directory in workspace.artefacts():
            yield read_provenance(directory), folder_bytes(directory)
        return
    sizes = mirror.sizes(folder)
    finished = [folder / name for name in sizes if name.count("/") == 2 and name.endswith(f"/{PROVENANCE}")]
    for path, content in sorted(zip(finished, transfer(mirror.read, finished), strict=True), key=_stage_order):
        artefact = path.parent.relative_to(folder).as_posix()
        if content:
            size_bytes = sum(size for name, size in sizes.items() if name.startswith(f"{artefact}/"))
            yield PROVENANCE_FORMAT.parse(content, path), size_bytes


def _stage_order(artefact: tuple[Path, bytes | None]) -> tuple[int, str]:
    directory = artefact[0].parent
    return KINDS.index(directory.parent.name), directory.name


def read_unfinished(workspace: Workspace) -> dict[str, bool]:
    """Returns the names of unfinished artefacts, and whether a process builds each of them now."""
    staging = workspace.staging
    names = sorted(path.name for path in staging.iterdir() if path.is_dir()) if staging.is_dir() else []
    return {name: is_held(staging / f"{name}.lock") for name in names}


def format_status(artefacts: list[ArtefactStatus], workspace: Workspace) -> str:
    """Returns a table of the artefacts; below it the unfinished artefacts, the total size and the free space."""
    if not artefacts:
        return f"{workspace.address()} holds no artefact yet."
    width = max(len(kind) for kind in KINDS)
    lines = [f"{'kind':{width}}  {'key':16}  {'size':>9}  {'age':>7}  made from"]
    lines += [
        f"{artefact.kind:{width}}  {artefact.key}  {format_size(artefact.size_bytes):>9}  "
        f"{format_age(artefact.age_seconds):>7}  {', '.join(artefact.made_from) or '-'}"
        for artefact in artefacts
    ]
    for name, at_work in read_unfinished(workspace).items():
        lines.append(
            f"unfinished: {name} ({'being built now' if at_work else 'the next run continues or restarts it'})"
        )
    total, free = sum(artefact.size_bytes for artefact in artefacts), shutil.disk_usage(workspace.directory).free
    lines.append(f"{len(artefacts)} artefacts, {format_size(total)}; {format_size(free)} free on this disk")
    lines.append(f"learning curves: tensorboard --logdir {workspace.directory}")
    return "\n".join(lines)


def format_size(size_bytes: int) -> str:
    """Returns a size in the largest unit, up to GB, that gives a number of at least 1."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def format_age(seconds: float) -> str:
    """Returns a duration in the largest unit that gives a number of at least 1; a negative duration becomes `0 s`."""
    seconds = max(seconds, 0)
    for unit, length in _AGE_UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
