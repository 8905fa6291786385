"""CSV tables in which the workspace remembers what was computed, so that nobody computes it again.

A first line holds the sha256 of the rest. A damaged memory is forgotten, because wrong values would be taken for right.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from cache.workspace.workspace import Workspace

_MARK = b"# sha256 of all that follows: "

logger = logging.getLogger(__name__)


def write_memory(path: Path, table: bytes, workspace: Workspace) -> None:
    """Write a CSV table into a file of the workspace, behind a line with its digest."""
    workspace.publish(path, _MARK + hashlib.sha256(table).hexdigest().encode() + b"\n" + table)


def read_memory(path: Path, columns: Sequence[str], workspace: Workspace) -> bytes:
    """Returns the CSV table of a file that `write_memory` wrote.

    Args:
        path: The file.
        columns: Names of the table's columns.
        workspace: Workspace of the file.

    Returns:
        Only the line with the names of the columns if there is no such file, if it is damaged, or if another version of
        birdclef wrote it; the last two are logged.
    """
    nothing = ",".join(columns).encode() + b"\n"
    content = workspace.read(path)
    if content is None:
        return nothing
    digest, _, table = content.removeprefix(_MARK).partition(b"\n")
    if digest == hashlib.sha256(table).hexdigest().encode() and table.startswith(nothing):
        return table
    logger.warning(
        "%s is damaged, or another version of birdclef wrote it. It only remembers results, so it is forgotten, and "
        "what it held is computed again",
        path,
    )
    return nothing
