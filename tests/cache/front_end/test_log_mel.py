import cv2
import librosa
import numpy as np
import pytest
import scipy.signal
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.config.features import LogMelConfig
from cache.front_end.log_mel import compute_log_mel, front_end, slaney_filters

RATE = 32_000
SETTINGS = {
    "default": LogMelConfig(),
    "narrow": LogMelConfig(n_fft=1024, hop_length=320, n_mels=64, fmin=50.0, fmax=14_000.0),
    "low rate": LogMelConfig(sample_rate=22_050, n_fft=512, hop_length=128, n_mels=40, fmin=0.0, fmax=11_025.0),
    "hop beyond window": LogMelConfig(n_fft=512, hop_length=700, n_mels=20),
    "high floor": LogMelConfig(floor_db=-40.0),
}


def make_waveforms() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    seconds = np.arange(3 * RATE) / RATE
    waveforms = {
        "noise": generator.normal(0, 0.2, 3 * RATE),
        "chirp": 0.9 * scipy.signal.chirp(seconds, 100, 3, 15_000),
        "very quiet tone": 1e-5 * np.sin(2 * np.pi * 2000 * seconds),
        "loud tone over quiet noise": 0.9 * np.sin(2 * np.pi * 440 * seconds) + generator.normal(0, 1e-5, 3 * RATE),
        "silence": np.zeros(RATE),
        "shorter than n_fft": generator.normal(0, 0.2, 300),
        "one sample": np.array([0.7]),
        "whole hops": generator.normal(0, 0.2, 128 * 512),
        "one block and a frame": generator.normal(0, 0.2, 128 * 512 + 511),
    }
    return {name: samples.astype(np.float32) for name, samples in waveforms.items()}


WAVEFORMS = make_waveforms()


def reference_log_mel(waveform: np.ndarray, features: LogMelConfig) -> np.ndarray:
    """The same strip from librosa, in the precision of the waveform; (frames, n_mels)."""
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=features.sample_rate,
        n_fft=features.n_fft,
        hop_length=features.hop_length,
        n_mels=features.n_mels,
        fmin=features.fmin,
        fmax=features.fmax,
        power=2,
        center=True,
        pad_mode="constant",
        norm="slaney",
        htk=False,
    )
    return 10 * np.log10(np.maximum(power, 10 ** (features.floor_db / 10))).T


@pytest.mark.filterwarnings("ignore:n_fft=", "ignore:Empty filters")
@pytest.mark.parametrize("settings_name", SETTINGS)
@pytest.mark.parametrize("waveform_name", WAVEFORMS)
def test_strip_equals_librosa_in_double_precision(waveform_name: str, settings_name: str) -> None:
    waveform, features = WAVEFORMS[waveform_name], SETTINGS[settings_name]
    strip = compute_log_mel(waveform, features)
    assert strip.dtype == np.float32
    np.testing.assert_allclose(strip, reference_log_mel(waveform.astype(np.float64), features), rtol=0, atol=0.01)


@pytest.mark.parametrize("waveform_name", ["noise", "very quiet tone", "shorter than n_fft"])
def test_strip_equals_torchaudio_where_its_float32_window_suffices(waveform_name: str) -> None:
    waveform, features = WAVEFORMS[waveform_name], LogMelConfig()
    spectrogram = torchaudio.transforms.MelSpectrogram(
        features.sample_rate,
        features.n_fft,
        hop_length=features.hop_length,
        n_mels=features.n_mels,
        f_min=features.fmin,
        f_max=features.fmax,
        power=2,
        center=True,
        pad_mode="constant",
        norm="slaney",
        mel_scale="slaney",
    ).double()
    power = spectrogram(torch.from_numpy(waveform).double()).T.numpy()  # (frames, n_mels)
    expected = 10 * np.log10(np.maximum(power, 1e-10))
    np.testing.assert_allclose(compute_log_mel(waveform, features), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("waveform_name", ["noise", "silence"])
def test_strip_equals_librosa_in_single_precision(waveform_name: str) -> None:
    waveform = WAVEFORMS[waveform_name]
    strip = compute_log_mel(waveform, LogMelConfig())
    np.testing.assert_allclose(strip, reference_log_mel(waveform, LogMelConfig()), rtol=0, atol=0.01)


@pytest.mark.parametrize("settings_name", SETTINGS)
@pytest.mark.parametrize("waveform_name", WAVEFORMS)
def test_strip_is_finite_and_never_below_the_floor(waveform_name: str, settings_name: str) -> None:
    strip = compute_log_mel(WAVEFORMS[waveform_name], SETTINGS[settings_name])
    assert np.isfinite(strip).all()
    assert strip.min() >= SETTINGS[settings_name].floor_db


@pytest.mark.parametrize("floor_db", [-100.0, -63.7, -30.0])
def test_silence_lies_on_the_floor(floor_db: float) -> None:
    strip = compute_log_mel(np.zeros(RATE, np.float32), LogMelConfig(floor_db=floor_db))
    np.testing.assert_allclose(strip, floor_db, rtol=0, atol=1e-5)


def test_ten_times_the_amplitude_is_twenty_decibels_more() -> None:
    quiet = compute_log_mel(0.1 * WAVEFORMS["noise"], LogMelConfig())
    loud = compute_log_mel(WAVEFORMS["noise"], LogMelConfig())
    assert quiet.min() > -99  # nothing touches the floor
    np.testing.assert_allclose(loud - quiet, 20, rtol=0, atol=0.01)


@pytest.mark.parametrize("ipp", [True, False])
def test_power_beyond_float32_is_not_finite_whatever_opencv_computes_with(ipp: bool) -> None:
    waveform = (1e20 * WAVEFORMS["loud tone over quiet noise"]).astype(np.float32)
    used = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(ipp)
    try:
        strip = compute_log_mel(waveform, LogMelConfig())
    finally:
        cv2.ipp.setUseIPP(used)
    reference = reference_log_mel(waveform.astype(np.float64), LogMelConfig())
    beyond = reference > 10 * np.log10(np.finfo(np.float32).max)
    assert beyond.any()
    assert not np.isfinite(strip[beyond]).any()


def test_waveform_is_not_changed() -> None:
    waveform = WAVEFORMS["noise"].copy()
    compute_log_mel(waveform, LogMelConfig())
    np.testing.assert_array_equal(waveform, WAVEFORMS["noise"])


@pytest.mark.filterwarnings("ignore:n_fft=")
@settings(deadline=None, max_examples=60)
@given(samples=st.integers(1, 40_000), hop_length=st.sampled_from([100, 256, 512, 1000]))
def test_strip_of_any_length_has_one_frame_per_hop_and_equals_librosa(samples: int, hop_length: int) -> None:
    features = LogMelConfig(n_fft=1024, hop_length=hop_length, n_mels=16)
    waveform = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    strip = compute_log_mel(waveform, features)
    assert strip.shape == (1 + samples // hop_length, 16)
    reference = reference_log_mel(waveform.astype(np.float64), features)
    np.testing.assert_allclose(strip, reference, rtol=0, atol=0.01)


def test_front_end_is_computed_once_and_is_librosas() -> None:
    front = front_end(LogMelConfig())
    assert front_end(LogMelConfig()) is front
    filters = librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=128, fmin=20, fmax=16_000)
    matrix = np.zeros((2048, 128), np.float32)  # parts in the order: real 0, real 1, imaginary 1, ..., real 1024
    for group in front.groups:
        matrix[group.parts, group.bands] = group.weights
    np.testing.assert_allclose(matrix[0], filters[:, 0], rtol=1e-6)
    np.testing.assert_allclose(matrix[1::2], filters[:, 1:].T, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(matrix[2::2], filters[:, 1:-1].T, rtol=1e-6, atol=1e-10)
    expected = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)  # periodic Hann
    for window, tolerance in ((front.window, 1e-12), (front.single_window, 1e-7)):
        np.testing.assert_allclose(window, expected, atol=tolerance)


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("settings_name", SETTINGS)
def test_filters_are_librosas(settings_name: str) -> None:
    features = SETTINGS[settings_name]
    expected = librosa.filters.mel(
        sr=features.sample_rate, n_fft=features.n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax
    )
    np.testing.assert_allclose(slaney_filters(features), expected, rtol=1e-6, atol=1e-10)
