import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest

from cache.recordings.audio_files import scan_audio
from cache.recordings.hashes import find_changed, hash_recordings
from cache.workspace.workspace import Workspace

NAMES = ("a/1.ogg", "a/2.ogg", 'b/3, odd "name".ogg')


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"content {number}".encode())
    return folder


def scan(audio: Path) -> pd.DataFrame:
    files = scan_audio(str(audio)).files
    names = sorted(files, reverse=True)
    return pd.DataFrame(
        {
            "recording_id": names,
            "size": [files[name][0] for name in names],
            "version": [files[name][1] for name in names],
        },
        index=range(10, 10 + len(names)),
    )


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def change_content(path: Path, content: str, *, keep_time: bool) -> None:
    before = path.stat()
    path.write_text(content)
    moved_ns = before.st_mtime_ns if keep_time else before.st_mtime_ns + 1_000
    os.utime(path, ns=(before.st_atime_ns, moved_ns))
    assert path.stat().st_size == before.st_size


def test_hashes_are_sha256_in_the_order_of_the_recordings(audio: Path, tmp_path: Path) -> None:
    recordings = scan(audio)
    hashes = hash_recordings(recordings, str(audio), Workspace(tmp_path / "work"))
    assert list(recordings["recording_id"]) == sorted(NAMES, reverse=True)
    assert list(hashes) == [sha256("content 2"), sha256("content 1"), sha256("content 0")]
    assert list(hashes.index) == list(recordings.index)
    assert hashes.name == "sha256"


def test_known_file_is_not_read_again(audio: Path, tmp_path: Path) -> None:
    first = hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    change_content(audio / "a/1.ogg", "CONTENT 0", keep_time=True)
    assert list(hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))) == list(first)


def test_caller_is_told_before_files_are_read_if_any_are(audio: Path, tmp_path: Path) -> None:
    told: list[bool] = []
    for _ in range(2):
        hash_recordings(
            scan(audio), str(audio), Workspace(tmp_path / "work"), lambda: told.append((tmp_path / "work").exists())
        )
    assert told == [False]


def test_file_with_another_time_is_read_again(audio: Path, tmp_path: Path) -> None:
    hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    change_content(audio / "a/1.ogg", "CONTENT 0", keep_time=False)
    hashes = hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    assert list(hashes) == [sha256("content 2"), sha256("content 1"), sha256("CONTENT 0")]


def test_file_with_another_size_is_read_again(audio: Path, tmp_path: Path) -> None:
    hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    path = audio / "a/1.ogg"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text("longer content")
    os.utime(path, ns=times)
    assert hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work")).iloc[2] == sha256("longer content")


def test_changed_file_is_remembered_by_its_new_content_only(audio: Path, tmp_path: Path) -> None:
    hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    change_content(audio / "a/1.ogg", "CONTENT 0", keep_time=False)
    hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    (memory,) = (tmp_path / "work" / "hashes").iterdir()
    remembered = pd.read_csv(memory, skiprows=1)  # behind the line with its digest
    assert list(remembered["recording_id"]) == sorted(NAMES)
    assert list(remembered["sha256"]) == [sha256("CONTENT 0"), sha256("content 1"), sha256("content 2")]


def test_new_file_joins_the_remembered_ones(audio: Path, tmp_path: Path) -> None:
    hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    change_content(audio / "a/1.ogg", "CONTENT 0", keep_time=True)
    (audio / "z.ogg").write_text("new")
    hashes = hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    assert list(hashes) == [sha256("new"), sha256("content 2"), sha256("content 1"), sha256("content 0")]


def test_subset_of_the_recordings_does_not_forget_the_others(audio: Path, tmp_path: Path) -> None:
    everything = scan(audio)
    hash_recordings(everything.iloc[:2], str(audio), Workspace(tmp_path / "work"))
    hash_recordings(everything.iloc[2:], str(audio), Workspace(tmp_path / "work"))
    for name in ("a/1.ogg", "a/2.ogg"):
        change_content(audio / name, "content X", keep_time=True)
    hashes = hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    assert list(hashes) == [sha256("content 2"), sha256("content 1"), sha256("content 0")]


def test_folders_are_remembered_apart(audio: Path, tmp_path: Path) -> None:
    hash_recordings(scan(audio), str(audio), Workspace(tmp_path / "work"))
    twin = tmp_path / "twin"
    audio.rename(twin)
    change_content(twin / "a/1.ogg", "CONTENT 0", keep_time=True)
    assert hash_recordings(scan(twin), str(twin), Workspace(tmp_path / "work")).iloc[2] == sha256("CONTENT 0")


def test_file_that_cannot_be_read_has_an_empty_hash_and_is_tried_again(audio: Path, tmp_path: Path) -> None:
    recordings = scan(audio)
    content = (audio / "a/2.ogg").read_bytes()
    times = (audio / "a/2.ogg").stat().st_atime_ns, (audio / "a/2.ogg").stat().st_mtime_ns
    (audio / "a/2.ogg").unlink()
    assert list(hash_recordings(recordings, str(audio), Workspace(tmp_path / "work"))) == [
        sha256("content 2"),
        "",
        sha256("content 0"),
    ]
    (audio / "a/2.ogg").write_bytes(content)
    os.utime(audio / "a/2.ogg", ns=times)
    assert hash_recordings(recordings, str(audio), Workspace(tmp_path / "work")).iloc[1] == sha256("content 1")


@pytest.mark.parametrize("damage", ["zeros", "cut sha256", "sha256 of another row"])
def test_damaged_memory_gives_no_wrong_hash(damage: str, audio: Path, tmp_path: Path) -> None:
    recordings, workspace = scan(audio), Workspace(tmp_path / "work")
    hash_recordings(recordings, str(audio), workspace)
    (memory,) = (tmp_path / "work" / "hashes").iterdir()
    content, first, second = memory.read_bytes(), sha256("content 0").encode(), sha256("content 1").encode()
    changed = {
        "zeros": bytes(len(content)),
        "cut sha256": content.replace(first, first[:40]),
        "sha256 of another row": content.replace(first, second),
    }
    assert changed[damage] != content
    memory.write_bytes(changed[damage])
    assert find_changed(recordings, str(audio), workspace) == []
    hashes = hash_recordings(recordings, str(audio), workspace)
    assert list(hashes) == [sha256("content 2"), sha256("content 1"), sha256("content 0")]
    assert memory.read_bytes() == content
