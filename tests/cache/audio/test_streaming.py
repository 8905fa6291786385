"""Strips in pieces are held against the strip of the whole file; odd files are made by the tests."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.streaming import header_seconds, stream_waveform


def write(path: Path, seconds: float, rate: int = 22_050, channels: int = 2, **options: str) -> Path:
    time = np.arange(round(seconds * rate)) / rate
    chirp = 0.3 * np.sin(2 * np.pi * (300 + 20 * time) * time)[:, None] * [1.0, 0.5][:channels]
    noise = np.random.default_rng(0).normal(0, 0.01, chirp.shape)
    soundfile.write(path, (chirp + noise).astype(np.float32), rate, **options)
    return path


@pytest.fixture(params=[1, 3, 1000])
def short_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("cache.audio.libsndfile.BLOCK_SECONDS", request.param)
    monkeypatch.setattr("cache.audio.mixing.SPAN_SECONDS", request.param)
    return request.param


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_pieces_add_up_to_the_waveform_of_the_whole(tmp_path: Path, short_blocks: int, rate: int) -> None:
    path = write(tmp_path / "a.flac", 7.3, rate)
    pieces = list(stream_waveform(path, 16_000))
    assert len(pieces) >= 7.3 / short_blocks
    np.testing.assert_allclose(np.concatenate(pieces), decode_waveform(path.read_bytes(), 16_000), atol=1e-6)


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_and_ogg_are_decoded_as_whole_files_are(
    tmp_path: Path, short_blocks: int, rate: int, channels: int
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, (12 * rate, channels)).clip(-1, 1)
    for name in ("a.mp3", "a.ogg"):  # frames of MP3 need bytes of earlier frames
        soundfile.write(tmp_path / name, noise, rate)
        whole = decode_waveform((tmp_path / name).read_bytes(), 16_000)
        pieces = np.concatenate(list(stream_waveform(tmp_path / name, 16_000)))
        np.testing.assert_allclose(pieces, whole, rtol=0, atol=2e-6)


def test_header_that_promises_too_much_is_not_believed(tmp_path: Path, short_blocks: int) -> None:
    path = write(tmp_path / "a.wav", 5.0)
    content = path.read_bytes()
    path.write_bytes(content[: 44 + (len(content) - 44) // 2])
    assert header_seconds(path) > 0
    heard = Heard()
    pieces = np.concatenate(list(stream_waveform(path, 16_000, heard)))
    np.testing.assert_allclose(pieces, decode_waveform(path.read_bytes(), 16_000), atol=1e-6)
    assert len(pieces) == pytest.approx(2.5 * 16_000, abs=10)
    assert heard.seconds == pytest.approx(2.5, abs=1e-3)


def test_streams_of_a_recording_tell_its_length_together(tmp_path: Path, short_blocks: int) -> None:
    path, heard = write(tmp_path / "a.wav", 7.3), Heard()
    first, second = (stream_waveform(path, rate, heard) for rate in (16_000, 8_000))
    for known in (short_blocks, 2 * short_blocks):
        next(first, None)
        assert heard.seconds == pytest.approx(min(known, 7.3))
    list(second)
    assert heard.seconds == pytest.approx(7.3)
    list(first)
    assert heard.seconds == pytest.approx(7.3)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "the file has no bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git-LFS pointer"),
        (b"no audio at all" * 50, "."),
    ],
)
def test_what_is_no_audio_is_undecodable(tmp_path: Path, content: bytes, detail: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(UnusableAudioError, match=detail) as caught:
        list(stream_waveform(path, 16_000))
    assert caught.value.reason == "undecodable"
    assert header_seconds(path) == 0


def test_file_without_a_sample_is_empty(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.empty((0, 1)), 16_000)
    with pytest.raises(UnusableAudioError, match="empty: no sample decodes"):
        list(stream_waveform(tmp_path / "a.wav", 16_000))


def test_values_that_are_no_numbers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.audio.libsndfile.BLOCK_SECONDS", 1)
    waveform = np.zeros(3 * 16_000, np.float32)
    waveform[40_000] = np.nan
    soundfile.write(tmp_path / "a.wav", waveform, 16_000, subtype="FLOAT")
    stream = stream_waveform(tmp_path / "a.wav", 16_000)
    assert len(next(stream)) > 0
    with pytest.raises(UnusableAudioError, match="non_finite: NaN or infinite after 2 s"):
        list(stream)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(stream_waveform(tmp_path / "a.wav", 16_000))


def test_flac_of_unknown_length_states_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", 2.0)
    assert header_seconds(path) == pytest.approx(2.0)
    flac = bytearray(path.read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)  # with the four bits before, the number of samples in STREAMINFO (RFC 9639, 8.2)
    path.write_bytes(flac)
    assert soundfile.info(path).duration > 1e12
    assert header_seconds(path) == 0
    assert sum(map(len, stream_waveform(path, 16_000))) == 32_000


def test_length_beyond_what_the_bytes_can_hold_is_not_stated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", 2.0)
    audio = path.read_bytes()
    count = audio.index(b"Xing") + 8
    path.write_bytes(audio[:count] + b"\x7f\xff\xff\xff" + audio[count + 4 :])
    assert soundfile.info(path).duration > 1e7
    assert header_seconds(path) == 0
