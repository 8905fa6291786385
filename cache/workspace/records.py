"""Records of a workspace: JSON files that are added one by one and never change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cache.workspace.workspace import Workspace

Record = TypeVar("Record")


def read_records(folder: str, workspace: Workspace, form: Callable[[dict[str, Any]], Record]) -> list[Record]:
    """Returns all records in a folder of the workspace, also those that lie only at the URL.

    Args:
        folder: Folder of the records.
        workspace: Where artefacts lie.
        form: Makes a record of the content of its file.

    Raises:
        ValueError: If a file is no record, or another version of birdclef wrote it.
    """
    directory = workspace.directory / folder
    if mirror := workspace.mirror:
        new = [name for name in mirror.sizes(directory) if name.endswith(".json") and not (directory / name).is_file()]
        mirror.fetch(directory, directory, new)
    return [_read(path, form) for path in directory.glob("*.json")]


def _read(path: Path, form: Callable[[dict[str, Any]], Record]) -> Record:
    try:
        return form(json.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged, or another version of birdclef wrote it ({type(error).__name__}: {error}). Bring the "
            "file back from a backup, or move it to another folder."
        ) from error


def add_record(folder: str, number: int, name: str, content: dict[str, Any], workspace: Workspace) -> None:
    """Publish a record as `FOLDER/NUMBER-NAME.json`."""
    path = workspace.directory / folder / f"{number:04}-{name}.json"
    workspace.publish(path, (json.dumps(content, indent=2) + "\n").encode())
