"""Clips cut from tones, read back by libsndfile."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache.audio.decoding import UnusableAudioError
from cache.config.data import DataConfig
from cache.recordings.excerpt import EXCERPT_RATE, cut_excerpt

RATE = 48_000


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """Ten seconds: a tone of 500 Hz, from the fifth on one of 2000 Hz."""
    time = np.arange(10 * RATE) / RATE
    waveform = 0.1 * np.sin(2 * np.pi * np.where(time < 5, 500, 2000) * time)
    (tmp_path / "train_audio" / "owl").mkdir(parents=True)
    soundfile.write(tmp_path / "train_audio" / "owl" / "1.flac", waveform, RATE)
    return DataConfig(root=str(tmp_path))


def digest(data: DataConfig) -> str:
    return hashlib.sha256((Path(data.root) / "train_audio" / "owl" / "1.flac").read_bytes()).hexdigest()


def read(excerpt: bytes) -> np.ndarray:
    waveform, rate = soundfile.read(io.BytesIO(excerpt))
    assert rate == EXCERPT_RATE
    return waveform


def frequency(waveform: np.ndarray) -> float:
    return np.abs(np.fft.rfft(waveform)).argmax() * EXCERPT_RATE / len(waveform)


@pytest.mark.parametrize(("middle", "hertz"), [(1.5, 500), (8.0, 2000), (0.0, 500), (10.0, 2000)])
def test_excerpt_holds_the_part_that_was_asked_for(data: DataConfig, middle: float, hertz: float) -> None:
    excerpt = cut_excerpt(data, "owl/1.flac", digest(data), middle, 3.0)
    assert excerpt.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3"))
    waveform = read(excerpt)
    assert len(waveform) == pytest.approx(3 * EXCERPT_RATE, abs=0.1 * EXCERPT_RATE)  # MP3 pads to whole frames
    assert frequency(waveform) == pytest.approx(hertz, abs=2)
    assert len(excerpt) < 40_000


def test_excerpt_is_brought_to_one_level_and_faded(data: DataConfig) -> None:
    waveform = read(cut_excerpt(data, "owl/1.flac", digest(data), 5.0, 2.0))
    assert np.abs(waveform).max() == pytest.approx(0.7, abs=0.1)
    assert np.abs(waveform[:60]).max() < 0.1  # the fade takes 640 samples


def test_short_recording_is_its_own_excerpt(data: DataConfig) -> None:
    waveform = read(cut_excerpt(data, "owl/1.flac", digest(data), 5.0, 60.0))
    assert len(waveform) == pytest.approx(10 * EXCERPT_RATE, abs=0.1 * EXCERPT_RATE)


def test_this_process_decodes_nothing(data: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("read_blocks", "decode_vorbis"):
        monkeypatch.setattr(f"cache.audio.decoding.{name}", lambda *_, **__: pytest.fail("decoded here"))
    assert cut_excerpt(data, "owl/1.flac", digest(data), 5.0, 2.0)


def test_changed_file_is_not_played_for_the_one_that_was_scored(data: DataConfig) -> None:
    with pytest.raises(UnusableAudioError, match=r"owl/1\.flac is no longer the file that was scored"):
        cut_excerpt(data, "owl/1.flac", "0" * 64, 5.0, 2.0)


def test_missing_file_is_an_error(data: DataConfig) -> None:
    with pytest.raises(FileNotFoundError):
        cut_excerpt(data, "owl/2.flac", "0" * 64, 5.0, 2.0)
