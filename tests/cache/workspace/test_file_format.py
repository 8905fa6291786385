import json
from pathlib import Path

import pytest

from cache.workspace.file_format import DamagedArtefactError, FileFormat, OtherFormatError

FORMAT = FileFormat(2, frozenset({"species"}), "Make it again.")


def write(folder: Path, content: object) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return path


def test_present_format_is_read(tmp_path: Path) -> None:
    assert FORMAT.read(write(tmp_path, {"format": 2, "species": []})) == {"format": 2, "species": []}


@pytest.mark.parametrize(("content", "found"), [({}, 0), ({"species": []}, 1), ({"format": 1}, 1)])
def test_older_format_is_refused_with_its_number_and_what_to_do(
    tmp_path: Path, content: dict[str, object], found: int
) -> None:
    path = write(tmp_path, content)
    told = f"An older version of birdclef wrote {path}: it has format {found}, and this version reads format 2"
    with pytest.raises(OtherFormatError, match=told):
        FORMAT.read(path)


def test_newer_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"format": 3})
    with pytest.raises(OtherFormatError, match=f"A newer version of birdclef wrote {path}: it has format 3, and this "):
        FORMAT.read(path)


@pytest.mark.parametrize("content", ["", "\0\0", "[]", "{"])
def test_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DamagedArtefactError, match=f"^{path} is damaged, because it is no JSON.*Bring the folder back"):
        FORMAT.read(path)


def test_file_without_a_key_is_damaged_where_all_are_needed(tmp_path: Path) -> None:
    assert FORMAT.read_whole(write(tmp_path, {"format": 2, "species": []}))["species"] == []
    with pytest.raises(DamagedArtefactError, match=r"a\.json is damaged, because it lacks species\. Bring"):
        FORMAT.read_whole(write(tmp_path, {"format": 2}))
