import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache.workspace.keys import Recipe
from cache.workspace.user_output import check_output, write_output
from cache.workspace.workspace import Workspace


def write(output: Path, text: str, *inputs: Path) -> None:
    with write_output(output, inputs) as path:
        path.write_text(text)


def test_new_file_and_its_folders_are_made(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "out.csv", "rows")
    assert (tmp_path / "a" / "b" / "out.csv").read_text() == "rows"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out.csv"]


def test_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    write(output, "old")
    with write_output(output) as path:
        path.write_text("new")
        assert output.read_text() == "old"
    assert output.read_text() == "new"


@pytest.mark.parametrize("link", [os.symlink, os.link, None], ids=["link", "hard link", "itself"])
def test_input_is_never_the_output(tmp_path: Path, link: object) -> None:
    recording, output = tmp_path / "a.wav", tmp_path / "other.wav"
    recording.write_bytes(b"sound")
    if callable(link):
        link(recording, output)
    with pytest.raises(ValueError, match=r"is one of the files to read\. Name another file"):
        write(output if link else recording, "rows", tmp_path / "gone.wav", recording)
    assert recording.read_bytes() == b"sound"


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", None)])
def test_recording_is_never_replaced_even_if_it_is_not_read(tmp_path: Path, kind: str, subtype: str | None) -> None:
    recording = tmp_path / "a"
    sound = np.random.default_rng(0).normal(0, 0.1, 8_000)
    soundfile.write(recording, sound, 8_000, format=kind, subtype=subtype)
    content = recording.read_bytes()
    with pytest.raises(ValueError, match=r"/a would replace a file that is not text: it may be a recording\. Name"):
        write(recording, "rows")
    assert recording.read_bytes() == content


@pytest.mark.parametrize(("name", "old"), [("a.csv", b"row_id\n"), ("a.onnx", b"\x08\0"), ("a.png", b"\x89PNG\0")])
def test_output_of_an_earlier_call_is_replaced(tmp_path: Path, name: str, old: bytes) -> None:
    (tmp_path / name).write_bytes(old)
    write(tmp_path / name, "new")
    assert (tmp_path / name).read_text() == "new"


def test_link_stays_a_link_to_the_new_content(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("real.csv")
    for text in ("first", "second"):
        write(tmp_path / "link.csv", text)
        assert (tmp_path / "link.csv").is_symlink()
        assert (tmp_path / "real.csv").read_text() == text


def test_device_stays_a_device() -> None:
    write(Path("/dev/null"), "rows")
    assert Path("/dev/null").is_char_device()


def test_fifo_gets_the_rows_and_stays_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write(fifo, "rows")
    reader.join(10)
    assert read == ["rows"]
    assert fifo.is_fifo()


def test_dash_is_the_standard_output(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("-"), "rows")
    assert capfd.readouterr().out == "rows"
    assert list(tmp_path.iterdir()) == []


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=f"The output {tmp_path} is a folder. Name a file in it"):
        check_output(tmp_path)


def test_files_of_a_workspace_are_refused_and_files_beside_them_are_not(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    artefact = Workspace(root).materialise(
        Recipe("reports", {}, {}, 1), lambda folder: (folder / "report.json").touch()
    )
    copy = artefact.rename(tmp_path / "copy")
    for inside in (
        *(root / "reports" / "key" / "report.json", root / "models" / "champion", root / ".work" / "x.lock"),
        *(copy / "report.json", copy / "new.csv", copy / "plots" / "new.png"),
    ):
        with pytest.raises(ValueError, match=r"belongs to a workspace and must not change\. Name a file elsewhere"):
            check_output(inside)
    for beside in (root / "predictions.csv", root / "out" / "predictions.csv", tmp_path / "reports" / "a.csv"):
        check_output(beside)
