"""Strips in pieces are held against the strip of the whole file."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache.audio.decoding import decode_waveform
from cache.audio.streaming import stream_waveform
from cache.config.features import LogMelConfig
from cache.front_end.log_mel import compute_log_mel
from cache.front_end.log_mel_stream import stream_log_mel

FEATURES = LogMelConfig(sample_rate=16_000, n_fft=512, hop_length=200, n_mels=24, fmin=50, fmax=8000)


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


@pytest.mark.parametrize("seconds", [0.001, 0.02, 1.0, 7.3, 8.0])
def test_pieces_add_up_to_the_strip_of_the_whole(tmp_path: Path, short_blocks: int, seconds: float) -> None:
    path = write(tmp_path / "a.wav", seconds)
    pieces = list(stream_log_mel(stream_waveform(path, FEATURES.sample_rate), FEATURES))
    whole = compute_log_mel(decode_waveform(path.read_bytes(), 16_000), FEATURES)
    assert sum(len(piece) for piece in pieces) == len(whole)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-3)  # dB


@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 512), (512, 700), (1024, 100)])
def test_any_hop_gives_the_strip_of_the_whole(tmp_path: Path, short_blocks: int, n_fft: int, hop_length: int) -> None:
    path = write(tmp_path / "a.wav", 4.1)
    features = FEATURES.model_copy(update={"n_fft": n_fft, "hop_length": hop_length})
    whole = compute_log_mel(decode_waveform(path.read_bytes(), 16_000), features)
    np.testing.assert_allclose(
        np.concatenate(list(stream_log_mel(stream_waveform(path, features.sample_rate), features))), whole, atol=1e-3
    )
