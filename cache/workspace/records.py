"""Records of a workspace: JSON files that are added one by one and never change."""

import json
from typing import Any

from cache.workspace.workspace import Workspace


def read_records(folder: str, workspace: Workspace) -> list[dict[str, Any]]:
    """Returns the contents of all records in a folder of the workspace, also of those that lie only at the URL."""
    directory = workspace.directory / folder
    if mirror := workspace.mirror:
        new = [name for name in mirror.sizes(directory) if name.endswith(".json") and not (directory / name).is_file()]
        mirror.fetch(directory, directory, new)
    return [json.loads(path.read_text()) for path in directory.glob("*.json")]


def add_record(folder: str, number: int, name: str, content: dict[str, Any], workspace: Workspace) -> None:
    """Publish a record as `FOLDER/NUMBER-NAME.json`."""
    path = workspace.directory / folder / f"{number:04}-{name}.json"
    workspace.publish(path, (json.dumps(content, indent=2) + "\n").encode())
