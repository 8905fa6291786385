"""Folders as recorders, phones, macOS and file managers leave them."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from cache.recordings.audio_files import holds_audio, scan_audio


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_hidden_files_and_folders_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.WAV", "._a.WAV", ".Trash-1000/old.wav", "site/.DS_Store", "site/..b.wav", "site/b.wav")
    found = scan_audio(str(tmp_path))
    assert found.audio() == ["a.WAV", "site/b.wav"]
    assert found.describe_passed_over() == "4 hidden"


def test_folder_below_a_hidden_one_is_not_hidden_itself(tmp_path: Path) -> None:
    write(tmp_path, ".data/a.wav")
    assert scan_audio(str(tmp_path / ".data")).audio() == ["a.wav"]
    assert not holds_audio(tmp_path)
    assert holds_audio(tmp_path / ".data")


def test_sounds_of_phones_and_old_recorders_are_audio_and_others_are_counted(tmp_path: Path) -> None:
    audio = ["app.webm", "layer.mp2", "phone.m4a", "rec.oga", "rec.wave"]
    write(tmp_path, *audio, "a.txt", "b.TXT", "c.xyz", "README")
    found = scan_audio(str(tmp_path))
    assert found.audio() == audio
    assert found.describe_passed_over() == "2 .txt, 1 .xyz, 1 without suffix"


def test_links_are_followed_and_no_folder_is_searched_twice(tmp_path: Path) -> None:
    write(tmp_path, "audio/zoo/1.wav", "disk/2.wav")
    audio = tmp_path / "audio"
    (audio / "another").symlink_to(audio / "zoo")  # comes before the folder itself by its name
    (audio / "zoo" / "up").symlink_to(audio)
    (audio / "site2").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(audio)
    (audio / "self").symlink_to(audio / "self")
    (audio / "lost.wav").symlink_to(tmp_path / "nowhere.wav")
    assert scan_audio(str(audio)).audio() == ["site2/2.wav", "zoo/1.wav"]


def test_fifos_and_sockets_are_told_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.wav")
    os.mkfifo(tmp_path / "b.wav")
    (tmp_path / "c.wav").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("d.wav")
        found = scan_audio(str(tmp_path))
    assert found.audio() == ["a.wav"]
    assert found.describe_passed_over() == "3 FIFO, socket or device (b.wav, c.wav, d.wav)"


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A path of more than 4,096 bytes, which even root cannot open."""
    write(tmp_path, "a.wav")
    name, folder = "d" * 250, os.open(tmp_path, os.O_RDONLY)
    for _ in range(17):
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    found = scan_audio(str(tmp_path))
    shutil.rmtree(tmp_path / name)
    assert found.audio() == ["a.wav"]
    assert found.describe_passed_over().startswith(f"1 unreadable ({name}/")


def test_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert scan_audio(str(tmp_path / "nowhere")).files == {}
