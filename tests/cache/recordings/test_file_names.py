"""Names as tables of other systems and other years of BirdCLEF write them; the files are those of the audio folder."""

import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from cache.recordings.file_names import describe_readings, match_names, suggest_files

FILES = ["robin/XC1.ogg", "robin/XC 2.MP3", "wren/XC1.ogg", "wren/a.b", unicodedata.normalize("NFD", "wren/Zürich.ogg")]


def read(name: str, label: str = "robin", files: list[str] = FILES, audio: str = "/data/train_audio") -> list[str]:
    return [reading.file for reading in match_names([name], [label], files, audio, "train_audio")[0]]


@pytest.mark.parametrize(
    "name",
    [
        "robin/XC1.ogg",
        "./robin/XC1.ogg",
        "robin//XC1.ogg",
        "robin\\XC1.ogg",
        "train_audio/robin/XC1.ogg",
        "train_audio\\robin\\XC1.ogg",
        "/data/train_audio/robin/XC1.ogg",
        "ROBIN/xc1.OGG",
        "Train_Audio/Robin/XC1.ogg",
        "robin/XC1",
        "XC1",
        "XC1.ogg",
        " robin/XC1.ogg ",
    ],
)
def test_other_spellings_of_one_file_are_that_file(name: str) -> None:
    assert read(name) == ["robin/XC1.ogg"]


def test_folder_of_the_label_decides_between_equal_names() -> None:
    assert read("XC1.ogg", "wren") == ["wren/XC1.ogg"]
    assert read("XC1.ogg", "owl") == []


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_forms_of_a_name_are_one_name(form: Literal["NFC", "NFD"]) -> None:
    assert read(unicodedata.normalize(form, "wren/Zürich.ogg")) == [FILES[-1]]


def test_exact_name_comes_before_all_readings() -> None:
    files = ["a\\b.ogg", "a/b.ogg", "A/b.ogg", "b.ogg ", "b.ogg"]
    assert read("a\\b.ogg", files=files) == ["a\\b.ogg"]
    assert read("b.ogg ", files=files) == ["b.ogg "]
    assert read("A/b.ogg", files=files) == ["A/b.ogg"]


@pytest.mark.parametrize(
    "name", ["../train_audio/robin/XC1.ogg", "robin/../robin/XC1.ogg", "..\\robin\\XC1.ogg", "/etc/hostname", "", " "]
)
def test_names_that_lead_outside_have_no_reading(name: str) -> None:
    assert read(name) == []


def test_name_that_fits_two_files_has_two_readings() -> None:
    assert read("x.ogg", files=["robin/X.ogg", "robin/X.OGG"]) == ["robin/X.OGG", "robin/X.ogg"]
    assert read("x", files=["robin/x.ogg", "robin/x.wav"]) == ["robin/x.ogg", "robin/x.wav"]


def test_paths_through_links_are_the_file_that_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "disk" / "robin").mkdir(parents=True)
    (tmp_path / "disk" / "robin" / "1.ogg").touch()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "red").symlink_to(tmp_path / "disk" / "robin")
    for audio in (tmp_path / "disk", tmp_path / "data"):
        for name in (f"{tmp_path}/data/robin/1.ogg", f"{tmp_path}/disk/robin/1.ogg", "red/1.ogg"):
            assert read(name, "x", ["robin/1.ogg"], str(audio)) == ["robin/1.ogg"]


def test_address_below_a_url_is_a_file_of_it() -> None:
    assert read("s3://bucket/train_audio/robin/XC1.ogg", audio="s3://bucket/train_audio") == ["robin/XC1.ogg"]
    assert read("s3://other/train_audio/robin/XC1.ogg", audio="s3://bucket/train_audio") == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("C:\\sounds\\a.b", "; did you mean wren/a.b?"),
        ("owl/XC1.ogg", "; did you mean robin/XC1.ogg or wren/XC1.ogg?"),
        ("robin/XC 2.flac", "; did you mean robin/XC 2.MP3?"),
        ("robin/._XC1.ogg", "; names that begin with a dot are hidden: rename it"),
        ("robin/XC3.ogg", ""),
    ],
)
def test_file_of_the_same_name_elsewhere_is_suggested(name: str, hint: str) -> None:
    assert suggest_files(name, [], FILES) == hint


def test_readings_are_counted_by_what_differs() -> None:
    names = ["robin\\XC1.ogg", "XC1.ogg", "wren\\XC1.ogg", "wren/a.b"]
    matches = match_names(names, ["robin", "robin", "wren", "wren"], FILES, "/data/train_audio", "train_audio")
    assert describe_readings(one for (one,) in matches) == [
        '2 file name(s) with a backslash for /, such as "robin\\XC1.ogg" for robin/XC1.ogg',
        '1 file name(s) without the folder of the species, such as "XC1.ogg" for robin/XC1.ogg',
    ]
