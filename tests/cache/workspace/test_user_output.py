import os
import stat
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from matplotlib.figure import Figure

from cache.workspace.keys import Recipe
from cache.workspace.user_output import OutputKind, check_output, write_output
from cache.workspace.workspace import Workspace


def write(output: Path, text: str, *inputs: Path) -> None:
    with write_output(output, inputs) as stream:
        stream.write(text.encode())


def test_new_file_and_its_folders_are_made(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "out.csv", "rows")
    assert (tmp_path / "a" / "b" / "out.csv").read_text() == "rows"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out.csv"]


def test_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    write(output, "old")
    with write_output(output) as stream:
        stream.write(b"new")
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


def test_sound_without_a_zero_byte_is_no_text(tmp_path: Path) -> None:
    frames = b"\xff\xfb\x90\x64" + bytes(range(1, 256)) * 8  # header of MPEG-1 layer III, ISO 11172-3, 2.4.2.3
    (tmp_path / "a").write_bytes(frames)
    with pytest.raises(ValueError, match=r"/a would replace a file that is not text"):
        write(tmp_path / "a", "rows")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "cp437"])
def test_text_in_any_encoding_is_replaced(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("recording\tspecies\r\n\f\x1b[0mé,ü\n".encode(encoding))
    write(tmp_path / "a.csv", "new")
    assert (tmp_path / "a.csv").read_text() == "new"


def test_output_replaces_its_like_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("row_id\n")
    Figure().savefig(tmp_path / "png", format="png")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "graph", [], [])), tmp_path / "onnx")
    kinds: tuple[OutputKind, ...] = ("text", "png", "onnx")
    for kind in kinds:
        (tmp_path / "new").touch()
        check_output(tmp_path / "new", kind=kind)
        check_output(tmp_path / kind, kind=kind)
        for other in kinds:
            if other != kind:
                with pytest.raises(ValueError, match="Name another file, or remove this one first"):
                    check_output(tmp_path / other, kind=kind)


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


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_file_behind_the_standard_output_goes_on_where_it_is(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    assert stat.S_ISREG(os.fstat(1).st_mode)  # pytest captures it in a file
    (tmp_path / "link").symlink_to("/dev/stdout")
    os.write(1, b"head\n")
    write(tmp_path / name if name == "link" else Path(name), "rows\n")
    os.write(1, b"last\n")
    assert capfd.readouterr().out == "head\nrows\nlast\n"
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_descriptor_of_an_input_or_that_is_closed_is_refused(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"sound")
    with recording.open("ab") as stream:
        output = Path(f"/dev/fd/{stream.fileno()}")
        with pytest.raises(ValueError, match=r"is one of the files to read"):
            check_output(output, [recording])
    with pytest.raises(ValueError, match=r"is not open\. Name a file, or - for the standard output"):
        check_output(output, [recording])


def test_file_as_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "day.wav").write_bytes(b"sound")
    for below in ("x.csv", "y/x.csv"):
        with pytest.raises(
            NotADirectoryError, match=r"cannot lie in .*/day\.wav, which is a file and no folder\. Name"
        ):
            check_output(tmp_path / "day.wav" / below)


def test_nothing_is_added_to_a_folder_of_inputs(tmp_path: Path) -> None:
    (tmp_path / "audio" / "species").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"lies in .*/audio, a folder of files to read\. Name a file elsewhere"):
        check_output(tmp_path / "audio" / "species" / "a.png", [tmp_path / "audio"])
    check_output(tmp_path / "a.png", [tmp_path / "audio"])


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
