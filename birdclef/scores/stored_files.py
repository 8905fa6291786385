"""Reads single files of artefacts; an artefact that is only at the workspace's URL is not fetched for them."""

from pathlib import Path
from typing import Any

from cache.workspace.provenance import PROVENANCE, PROVENANCE_FORMAT, is_finished
from cache.workspace.workspace import Workspace


def list_stored(kind: str, workspace: Workspace) -> set[str]:
    """Returns the keys of the finished artefacts of a kind, on this machine and at the URL, if there is one."""
    here = {path.name for path in workspace.artefacts(kind)}
    if workspace.mirror is None:
        return here
    files = map(Path, workspace.mirror.sizes(workspace.directory / kind))
    return here | {file.parent.name for file in files if file.name == PROVENANCE and len(file.parts) == 2}


def read_stored_provenance(kind: str, key: str, workspace: Workspace) -> dict[str, Any] | None:
    """Returns the provenance record of an artefact; None if it is neither on this machine nor at the URL."""
    try:
        record = read_stored(kind, key, PROVENANCE, workspace)
    except FileNotFoundError:
        return None
    return PROVENANCE_FORMAT.parse(record, workspace.directory / kind / key / PROVENANCE)


def read_stored(kind: str, key: str, name: str, workspace: Workspace) -> bytes:
    """Returns the content of an artefact's file.

    Args:
        kind: Kind of the artefact.
        key: Key of the artefact.
        name: Path of the file inside the artefact.
        workspace: Where artefacts lie.

    Raises:
        FileNotFoundError: If the file is neither on this machine nor at the URL.
    """
    artefact = workspace.directory / kind / key
    if is_finished(artefact) or workspace.mirror is None:
        return (artefact / name).read_bytes()
    content = workspace.mirror.read(artefact / name)
    if content is None:
        raise FileNotFoundError(f"{workspace.address(artefact / name)}: no such file. Restore it from a backup.")
    return content
