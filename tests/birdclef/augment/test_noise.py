"""Noise against the gamma distribution of mel bands, the closed form of overlapping Hann windows, and librosa."""

from functools import lru_cache

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import polygamma

from birdclef.augment.noise import draw_noise, synthesise_noise
from cache.config.features import LogMelConfig

FEATURES = LogMelConfig()
BANDS = {"low": slice(2, 8), "middle": slice(50, 60), "high": slice(110, 124)}


@pytest.fixture(scope="module")
def noise() -> NDArray[np.float32]:
    return synthesise_noise(FEATURES)


def decibels(power: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns levels, (..., frames, n_mels) in dB."""
    return np.asarray(10 * np.log10(power.astype(np.float64)))


@lru_cache
def librosa_noise(exponent: float, seconds: int = 40) -> NDArray[np.float64]:
    """Returns the log-mel of noise whose power falls with the frequency to an exponent, (frames, n_mels) in dB."""
    size = seconds * 32_000
    spectrum = np.fft.rfft(np.random.default_rng(5).normal(size=size))
    spectrum *= np.fft.rfftfreq(size, 1 / 32_000).clip(min=20.0) ** (-exponent / 2)
    mel = librosa.feature.melspectrogram(
        y=np.fft.irfft(spectrum), sr=32_000, n_fft=2048, hop_length=512, n_mels=128, fmin=20, fmax=16_000
    )
    return np.asarray(10 * np.log10(mel[:, 4:-4].T))


def correlation(levels: NDArray[np.float64], lag: int) -> float:
    """Returns the correlation of the levels of a band with those `lag` frames later, mean over bands."""
    centred = levels - levels.mean(axis=0)
    return float(np.mean((centred[lag:] * centred[:-lag]).mean(axis=0) / centred.var(axis=0)))


@pytest.mark.parametrize(("colour", "exponent"), [(0, 0.0), (1, 1.0)], ids=["white", "pink"])
@pytest.mark.parametrize("name", BANDS)
def test_noise_is_that_of_librosa_in_spread_correlation_and_colour(
    noise: NDArray[np.float32], colour: int, exponent: float, name: str
) -> None:
    """Low, middle and high bands spread by 3.4, 2.6 and 1.1 dB; neighbouring frames correlate by 0.4 to 0.5."""
    ours, reference = decibels(noise[colour])[:, BANDS[name]], librosa_noise(exponent)[:, BANDS[name]]
    assert ours.std(axis=0).mean() == pytest.approx(reference.std(axis=0).mean(), abs=0.1)
    for lag in (1, 2, 3):
        assert correlation(ours, lag) == pytest.approx(correlation(reference, lag), abs=0.04)
    slope = ours.mean(axis=0) - reference.mean(axis=0)
    assert np.ptp(slope) < 0.5


def test_spread_of_a_wide_band_is_that_of_a_gamma_distribution(noise: NDArray[np.float32]) -> None:
    """Power in a band is a weighted sum of exponential bins, which a Hann window correlates: 4/9 in power between
    neighbours, 1/36 at two bins. A gamma distribution with its mean and variance has the shape (sum w)^2 / (w C w), and
    the deviation of its level is 10 / ln 10 times the root of the trigamma function of the shape.
    """
    weights = librosa.filters.mel(sr=32_000, n_fft=2048, n_mels=128, fmin=20, fmax=16_000).astype(np.float64)[110:]
    variance = np.square(weights).sum(axis=1)
    for distance, likeness in ((1, 4 / 9), (2, 1 / 36)):
        variance += 2 * likeness * (weights[:, distance:] * weights[:, :-distance]).sum(axis=1)
    expected = 10 / np.log(10) * np.sqrt(polygamma(1, weights.sum(axis=1) ** 2 / variance))
    np.testing.assert_allclose(decibels(noise[0])[:, 110:].std(axis=0), expected, atol=0.06)


def test_frames_are_as_alike_as_their_windows_overlap(noise: NDArray[np.float32]) -> None:
    """Closed forms for a periodic Hann window w: the squared autocorrelation of w for a band of one bin, and the
    autocorrelation of w^2 for a band of very many. All bands lie between them.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    power = noise[0].astype(np.float64)
    for lag in (1, 2, 3):
        one, other = window[512 * lag :], window[: -512 * lag]
        narrow = float((one @ other / (window @ window)) ** 2)
        wide = float(one**2 @ other**2 / (window**2 @ window**2))
        for bands in BANDS.values():
            assert narrow - 0.02 < correlation(power[:, bands], lag) < wide + 0.02
        assert correlation(power[:, 110:], lag) == pytest.approx(wide, abs=0.01)


def test_colours_fall_by_0_3_and_6_db_an_octave(noise: NDArray[np.float32]) -> None:
    """Slaney's filters have equal area, so their mean power is the density of the spectrum."""
    levels = decibels(noise.mean(axis=1))  # (colours, n_mels)
    octaves = np.log2(librosa.mel_frequencies(n_mels=130, fmin=20, fmax=16_000)[1:-1])
    for colour, expected in enumerate((0.0, -3.01, -6.02)):
        slope = np.polyfit(octaves[20:], levels[colour, 20:], 1)[0]
        assert slope == pytest.approx(expected, abs=0.1)


def test_crops_are_pieces_of_a_random_colour_from_a_random_place() -> None:
    bank = torch.arange(3 * 50 * 2, dtype=torch.float32).view(3, 50, 2)
    crops = draw_noise(bank, 4000, 7, torch.Generator().manual_seed(0))
    assert crops.shape == (4000, 1, 2, 7)
    starts = (crops[:, 0, 0, 0] / 2).long()
    assert len(starts.unique()) == 150
    colour, first = starts // 50, starts % 50
    places = (first.unsqueeze(1) + torch.arange(7)) % 50  # noise goes on at its start
    assert torch.equal(crops[:, 0], bank[colour.unsqueeze(1), places].transpose(1, 2))


def test_crop_longer_than_the_noise_repeats_it() -> None:
    crops = draw_noise(torch.ones(3, 10, 2), 5, 25, torch.Generator().manual_seed(0))
    assert crops.shape == (5, 1, 2, 25)


def test_noise_is_always_the_same_and_never_at_the_floor_of_the_strips() -> None:
    loud = LogMelConfig(hop_length=1024, n_mels=16, floor_db=-10.0)
    first = synthesise_noise(loud)
    synthesise_noise.cache_clear()
    np.testing.assert_array_equal(first, synthesise_noise(loud))
    assert len(np.unique(first[2, :, -1])) > 1000
