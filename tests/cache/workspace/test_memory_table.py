import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.workspace.memory_table import read_memory, write_memory
from cache.workspace.workspace import Workspace

COLUMNS = ["name", "size"]
TABLE = b"name,size\na.ogg,10\nb.ogg,20\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_memory_is_read_as_it_was_written(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    path = workspace.directory / "memory" / "a.csv"
    assert read_memory(path, COLUMNS, workspace) == b"name,size\n"
    write_memory(path, TABLE, workspace)
    assert read_memory(path, COLUMNS, workspace) == TABLE
    assert path.read_bytes().splitlines()[0].split()[-1].decode() == hashlib.sha256(TABLE).hexdigest()
    assert not caplog.records


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
        lambda content: content[:-3],
        lambda content: content.replace(b"10", b"20"),
        lambda content: content[content.index(b"\n") + 1 :],
    ],
    ids=["empty", "zeros", "half zeros", "cut off", "value of another row", "without digest"],
)
def test_damaged_memory_is_forgotten_and_told(
    damage: Callable[[bytes], bytes], workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    path = workspace.directory / "a.csv"
    write_memory(path, TABLE, workspace)
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert read_memory(path, COLUMNS, workspace) == b"name,size\n"
    assert f"{path} is damaged" in caplog.text


def test_memory_with_other_columns_is_forgotten(workspace: Workspace) -> None:
    write_memory(workspace.directory / "a.csv", b"name\na.ogg\n", workspace)
    assert read_memory(workspace.directory / "a.csv", COLUMNS, workspace) == b"name,size\n"
