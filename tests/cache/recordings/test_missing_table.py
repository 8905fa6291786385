"""Each folder is written in the test; the advice must name what lies there."""

from pathlib import Path

import pytest

from cache.config.data import DataConfig
from cache.recordings.missing_table import advise_on_table
from cache.recordings.user_table import read_recordings


def advise(root: Path | str) -> str:
    return advise_on_table(DataConfig(root=str(root)))


def test_mistyped_folder_is_told_with_the_nearest_one_and_nothing_is_generated(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "notes.txt").touch()
    told = advise(tmp_path / "recodings" / "2026")
    assert f"{tmp_path} has no folder recodings. Did you mean {tmp_path / 'recordings'}?" in told
    assert "synth" not in told
    told = advise(tmp_path / "zzz")
    assert told.startswith(f"{tmp_path / 'zzz'} does not exist, and {tmp_path} has no folder zzz. Set data.root")


@pytest.mark.parametrize("root", ["data/demo", "/nowhere/at/all/demo/"])
def test_folder_of_the_demo_can_be_generated(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert advise(root).endswith(f"birdclef synth {tmp_path / root}")


def test_recordings_in_folders_without_a_table_are_told_where_a_table_is_explained(tmp_path: Path) -> None:
    (tmp_path / "robin" / "june").mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=r"Set data\.root to a folder with train_metadata\.csv and train_audio/"
    ):
        read_recordings(DataConfig(root=str(tmp_path)))
    (tmp_path / "robin" / "june" / "XC1.MP3").touch()
    with pytest.raises(FileNotFoundError, match=r"holds recordings but no table .* docs/data\.md says how to make one"):
        read_recordings(DataConfig(root=str(tmp_path)))


def test_url_is_not_looked_up_on_this_machine() -> None:
    assert advise("s3://bucket/demo") == "Set data.root to a folder with train_metadata.csv and train_audio/."


def test_the_table_itself_as_root_is_told(tmp_path: Path) -> None:
    (tmp_path / "train_metadata.csv").touch()
    assert advise(tmp_path / "train_metadata.csv").startswith(
        f"{tmp_path}/train_metadata.csv is a file. Set data.root to the folder with train_metadata.csv"
    )


def test_table_of_recordings_is_named_before_other_tables(tmp_path: Path) -> None:
    for name, header in (("sample_submission", "row_id,a"), ("taxonomy", "primary_label,class_name")):
        (tmp_path / f"{name}.csv").write_text(f"{header}\n")
    (tmp_path / "train.csv").write_text("primary_label,secondary_labels,filename\n")
    assert advise(tmp_path).startswith("The folder has train.csv: set data.metadata=train.csv")


def test_audio_folder_of_another_year_is_named(tmp_path: Path) -> None:
    (tmp_path / "train_short_audio" / "a").mkdir(parents=True)
    (tmp_path / "train_short_audio" / "a" / "XC1.ogg").touch()
    (tmp_path / "train_metadata.csv").write_text("primary_label,filename\na,XC1.ogg\n")
    with pytest.raises(
        FileNotFoundError, match=r"has a folder train_short_audio .*: set data\.audio=train_short_audio"
    ):
        read_recordings(DataConfig(root=str(tmp_path)))
