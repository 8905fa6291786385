"""Recordings that really end their decoder, by faults that each child process imports."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from faulty_decoder import plant_in_children

from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.streaming import header_seconds, stream_waveform
from cache.isolation.decoder import decode_isolated, prepare_decoder, read_header_seconds, stream_isolated
from cache.isolation.limits import Limits

RATE = 16_000
LIMITS = Limits(memory_gb=1.0, seconds=3.0)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_in_children(tmp_path / "site", monkeypatch)


def write(path: Path, seconds: float = 3.0, channels: int = 2) -> Path:
    samples = np.random.default_rng(0).normal(0, 0.1, (round(seconds * 22_050), channels))
    soundfile.write(path, samples, 22_050)
    return path


def test_child_decodes_what_this_process_would(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", 100.0)
    heard, own = Heard(), Heard()
    pieces = []
    for piece in stream_isolated(path, RATE, Limits(), heard):
        pieces.append(piece)
        assert heard.seconds > 0
    expected = list(stream_waveform(path, RATE, own))
    assert [len(piece) for piece in pieces] == [len(piece) for piece in expected]
    np.testing.assert_array_equal(np.concatenate(pieces), np.concatenate(expected))
    assert (heard.seconds, heard.sample_rate) == (own.seconds, own.sample_rate) == (100.0, 22_050)
    audio = path.read_bytes()
    np.testing.assert_array_equal(decode_isolated(audio, RATE, Limits()), decode_waveform(audio, RATE))
    assert read_header_seconds([path, tmp_path / "none.wav"]) == [header_seconds(path), 0.0]


@pytest.mark.parametrize(
    ("audio", "reason", "detail"),
    [
        (b"SEGFAULT", "crash", r"its decoding ended the process \(SIGSEGV\)"),
        (b"EXIT", "crash", r"its decoding ended the process \(exit status 7\)"),
        (b"KILLED", "killed", r"killed from outside \(SIGKILL\), as when memory runs out"),
        (b"HANG", "timeout", "no sample was decoded within 3 s"),
        (b"HUGE", "too_large", "decoding takes more than 1 GB of memory"),
        (b"no audio", "undecodable", "."),
    ],
)
@pytest.mark.usefixtures("faulty")
def test_recording_that_ends_its_decoder_is_unusable_audio(
    audio: bytes, reason: str, detail: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(audio)
    decoders: list[Callable[[], object]] = [
        lambda: list(stream_isolated(path, RATE, LIMITS)),
        lambda: decode_isolated(audio, RATE, LIMITS),
    ]
    for decode in decoders:
        with pytest.raises(UnusableAudioError, match=detail) as caught:
            decode()
        assert caught.value.reason == reason


@pytest.mark.usefixtures("faulty")
def test_header_that_ends_its_reader_states_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"SEGFAULT")
    good = [write(tmp_path / f"{seconds}.wav", seconds) for seconds in (1.0, 2.0)]
    assert read_header_seconds([good[0], tmp_path / "bad.wav", good[1]]) == [1.0, 0.0, 2.0]


def test_missing_file_is_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.wav"):
        list(stream_isolated(tmp_path / "none.wav", RATE, Limits()))


def test_more_samples_than_the_bytes_can_hold_end_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with as much sound as its bytes allow would take minutes, so fewer are allowed here."""
    planted = (
        "import cache.audio.decoded_length as length\nlength.is_plausible = lambda samples, size: samples < 60_000"
    )
    plant_in_children(tmp_path / "site", monkeypatch, planted)
    assert list(stream_isolated(write(tmp_path / "short.flac", 2.0), RATE, Limits()))
    with pytest.raises(UnusableAudioError, match=r"too_large: after 0\.0 h there are more samples than [\d,]+ bytes"):
        list(stream_isolated(write(tmp_path / "long.flac", 3.0), RATE, Limits()))


def living_server() -> psutil.Process:
    prepare_decoder()
    running = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    (server,) = [each for each in running if "isolation.decoder_child" in " ".join(each.cmdline())]
    return server


def test_recording_is_not_blamed_for_a_server_that_has_ended(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac")
    server = living_server()
    server.suspend()  # it takes no request any more, and ends with the request that waits
    threading.Timer(1.0, server.kill).start()
    assert sum(map(len, stream_isolated(path, RATE, Limits()))) == 3 * RATE


def test_server_that_never_starts_is_no_fault_of_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_in_children(tmp_path / "site", monkeypatch, "raise SystemExit('no memory for imports')")
    with pytest.raises(RuntimeError, match=r"No process could be started to decode recordings: "):
        list(stream_isolated(write(tmp_path / "a.wav"), RATE, Limits()))


def test_child_that_is_killed_in_the_middle_of_a_piece_is_told(tmp_path: Path) -> None:
    stream = stream_isolated(write(tmp_path / "a.flac", 200.0), RATE, Limits())
    next(stream)
    (child,) = living_server().children()
    time.sleep(1)  # a piece is larger than what a connection holds, so the child is sending the next one
    child.kill()
    with pytest.raises(UnusableAudioError, match=r"killed: its process was killed from outside \(SIGKILL\)"):
        list(stream)


def test_child_ends_with_the_stream_that_nobody_reads_to_its_end(tmp_path: Path) -> None:
    stream = stream_isolated(write(tmp_path / "a.flac", 200.0), RATE, Limits())
    next(stream)
    (child,) = living_server().children()
    stream.close()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
