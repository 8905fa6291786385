"""What a power failure leaves is tested in tests/flows/test_power_failure_soak.py, with a block device."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from cache.workspace.atomic_files import move_atomically, replace_atomically, write_atomically


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes that are flushed to the disk, in order."""
    inodes: list[int] = []
    original = os.fsync

    def record(descriptor: int) -> None:
        original(descriptor)
        inodes.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", record)
    return inodes


def test_atomic_write_replaces_the_text_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_atomically(path, json.dumps({"a": 1}))
    write_atomically(path, "second")
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(b"second").digest()
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.json"]


def test_failed_atomic_write_keeps_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_atomically(path, "first")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "second \ud800")  # a lone surrogate has no UTF-8
    assert path.read_text() == "first"


def test_written_file_and_the_folder_that_names_it_are_flushed(tmp_path: Path, flushed: list[int]) -> None:
    write_atomically(tmp_path / "index.json", "first")
    assert flushed == [(tmp_path / "index.json").stat().st_ino, tmp_path.stat().st_ino]


def test_moved_folder_is_flushed_with_all_that_it_holds_and_then_the_folders_that_name_it(
    tmp_path: Path, flushed: list[int]
) -> None:
    staging, final = tmp_path / "staging" / "a", tmp_path / "runs" / "a"
    (staging / "logs").mkdir(parents=True)
    for name in ("weights", "logs/metrics.csv"):
        (staging / name).write_text(name)
    move_atomically(staging, final)
    inside = {path.stat().st_ino for path in (final, *final.rglob("*"))}
    assert set(flushed[:-2]) == inside
    assert flushed[-2:] == [path.stat().st_ino for path in (tmp_path / "runs", tmp_path)]
    assert not staging.exists()


def test_folder_that_cannot_be_moved_stays(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        move_atomically(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "new" / "text").read_text() == "new"
    assert (tmp_path / "old" / "text").read_text() == "old"


def test_writers_of_one_file_with_the_same_process_number_do_not_meet(tmp_path: Path) -> None:
    """As in two containers that share a folder, where every process is number 1."""
    path = tmp_path / "index.json"
    with replace_atomically(path) as first, replace_atomically(path) as second:
        first.write_text("first")
        second.write_text("the second, which is longer")
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.json"]


def test_failed_replacement_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "detections.csv"
    path.write_text("old")

    def fail() -> None:
        with replace_atomically(path) as partial:
            partial.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["detections.csv"]
