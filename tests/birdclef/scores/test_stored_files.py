"""Files of artefacts on this machine and at a URL, written here."""

from pathlib import Path

import pytest

from birdclef.scores.stored_files import list_stored, read_stored, read_stored_provenance
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace


def write(workspace: Workspace, name: str) -> str:
    def build(staging: Path) -> None:
        (staging / "a.txt").write_text(name)

    return workspace.materialise(Recipe("reports", {"name": name}, {}, 1), build).name


def test_files_at_the_url_are_read_as_those_on_this_machine(tmp_path: Path, bucket_url: str) -> None:
    first, second = (Workspace.open(bucket_url, tmp_path / name) for name in ("first", "second"))
    keys = {name: write(workspace, name) for name, workspace in (("far", first), ("near", second))}
    assert list_stored("reports", second) == set(keys.values())
    assert list_stored("runs", second) == set()
    for name, key in keys.items():
        assert read_stored("reports", key, "a.txt", second) == name.encode()
        assert (read_stored_provenance("reports", key, second) or {})["key"] == key
    assert not (second.directory / "reports" / keys["far"]).exists()


def test_what_is_nowhere_is_told(tmp_path: Path, bucket_url: str) -> None:
    for workspace in (Workspace(tmp_path), Workspace.open(bucket_url, tmp_path / "mirrors")):
        key = write(workspace, "one")
        assert read_stored_provenance("reports", "two", workspace) is None
        with pytest.raises(FileNotFoundError, match=r"reports/two/a\.txt"):
            read_stored("reports", "two", "a.txt", workspace)
        with pytest.raises(FileNotFoundError, match=r"b\.txt"):
            read_stored("reports", key, "b.txt", workspace)
