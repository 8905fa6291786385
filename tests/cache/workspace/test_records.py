"""Records in a folder, and in a bucket that two machines share."""

import json
from pathlib import Path

import pytest

from cache.workspace.records import add_record, read_records
from cache.workspace.workspace import Workspace


def by_number(records: list[dict[str, int]]) -> list[dict[str, int]]:
    return sorted(records, key=lambda record: record["number"])


def test_record_is_a_file_that_is_read_back(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert read_records("notes", workspace, dict) == []
    add_record("notes", 7, "abc", {"number": 7}, workspace)
    add_record("notes", 12, "def", {"number": 12}, workspace)
    assert sorted(path.name for path in (tmp_path / "notes").iterdir()) == ["0007-abc.json", "0012-def.json"]
    assert json.loads((tmp_path / "notes" / "0007-abc.json").read_text()) == {"number": 7}
    assert by_number(read_records("notes", workspace, dict)) == [{"number": 7}, {"number": 12}]


def test_records_of_another_machine_are_fetched(bucket_url: str, tmp_path: Path) -> None:
    here, there = (Workspace.open(bucket_url, tmp_path / name) for name in ("here", "there"))
    add_record("notes", 1, "abc", {"number": 1}, here)
    add_record("notes", 2, "def", {"number": 2}, there)
    assert (
        by_number(read_records("notes", here, dict))
        == by_number(read_records("notes", there, dict))
        == [
            {"number": 1},
            {"number": 2},
        ]
    )


def test_record_of_another_version_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "0001-a.json").write_text('{"number": 1}')
    told = "0001-a.json is damaged, or another version of birdclef wrote it \\(KeyError: 'text'\\)"
    with pytest.raises(ValueError, match=told):
        read_records("notes", Workspace(tmp_path), lambda content: content["text"])
