"""Waveform to log-mel strip."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import librosa
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cache.config import FeatureConfig

VERSION = 2
"""Raised by hand when the same audio and settings give other numbers."""

_BLOCK_FRAMES = 64  # windowed frames and spectra of a block stay in the second-level cache
_GROUP_BANDS = 8
_SINGLE_PRECISION_DB = 105.0
"""How far a band may lie below the power of its whole frame for a float32 FFT to be exact enough: at 105 dB it misses
librosa by 0.004 dB, at 145 dB, as MP3's low-pass leaves the highest bands, by 0.4 dB."""


@dataclass(frozen=True)
class BandGroup:
    """Neighbouring mel bands, and the part of a spectrum that reaches them.

    Attributes:
        bands: Which bands.
        parts: The bins that any of them weights, in a spectrum as alternating real and imaginary parts.
        weights: Mel filters over these parts, (parts, bands): both parts of a bin have the same weight.
    """

    bands: slice
    parts: slice
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class MelFrontEnd:
    """Window and mel filters of one feature configuration.

    Attributes:
        window: Periodic Hann, (n_fft,).
        groups: The Slaney mel filters, without most of their zeros.
    """

    window: NDArray[np.float64]
    groups: tuple[BandGroup, ...]


@lru_cache(maxsize=4)
def front_end(features: FeatureConfig) -> MelFrontEnd:
    """Returns the front end of a configuration, computed once per process."""
    filters = librosa.filters.mel(
        sr=features.sample_rate, n_fft=features.n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax
    )  # (n_mels, 1 + n_fft // 2)
    window = librosa.filters.get_window("hann", features.n_fft, fftbins=True)
    groups = []
    for first in range(0, features.n_mels, _GROUP_BANDS):
        bands = slice(first, min(first + _GROUP_BANDS, features.n_mels))
        weighted = np.flatnonzero(filters[bands].any(axis=0))
        bins = slice(weighted[0], weighted[-1] + 1) if len(weighted) else slice(0, 1)
        weights = np.repeat(filters[bands, bins].T, 2, axis=0)  # (2 * bins, bands)
        groups.append(BandGroup(bands, slice(2 * bins.start, 2 * bins.stop), weights.astype(np.float32)))
    return MelFrontEnd(window.astype(np.float64), tuple(groups))


def compute_log_mel(waveform: NDArray[np.float32], features: FeatureConfig) -> NDArray[np.float32]:
    """Returns the log-mel strip of a waveform: 10 log10(mel power), dB re 1, floored, without normalisation.

    Same definition as `librosa.feature.melspectrogram(power=2, center=True, pad_mode="constant")`, which it meets
    within 0.01 dB above the floor.

    Args:
        waveform: (samples,) in [-1, 1].
        features: Front-end settings.

    Returns:
        Strip, (frames, n_mels) with frames = 1 + samples // hop_length, in dB >= `floor_db`.
    """
    front = front_end(features)
    padded = np.pad(waveform, features.n_fft // 2)  # (samples + n_fft,)
    frames = 1 + len(waveform) // features.hop_length
    windows = np.lib.stride_tricks.sliding_window_view(padded, features.n_fft)[:: features.hop_length][:frames]
    strip = np.empty((frames, features.n_mels), np.float32)
    total = np.empty((frames, 1), np.float32)
    window = front.window.astype(np.float32)
    for start in range(0, frames, _BLOCK_FRAMES):
        block = slice(start, start + _BLOCK_FRAMES)
        strip[block], total[block] = _mel_power(windows[block] * window, front.groups)
    floor_power = np.float32(10 ** (features.floor_db / 10))
    wide = _find_wide_frames(strip, total, floor_power)
    for start in range(0, len(wide), _BLOCK_FRAMES):
        rows = wide[start : start + _BLOCK_FRAMES]
        strip[rows], _ = _mel_power(windows[rows] * front.window, front.groups)
    np.log10(np.maximum(strip, floor_power, out=strip), out=strip)
    strip *= 10
    return np.maximum(strip, np.float32(features.floor_db), out=strip)


def _mel_power(
    windowed: NDArray[Any], groups: tuple[BandGroup, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns mel power, (frames, n_mels), and total power, (frames, 1), of (frames, n_fft) windowed samples.

    The FFT runs in the precision of the samples, the rest in float32.
    """
    spectrum = scipy.fft.rfft(windowed, axis=1, overwrite_x=True).astype(np.complex64, copy=False)
    parts = spectrum.view(np.float32)  # (frames, 2 * (1 + n_fft // 2))
    np.square(parts, out=parts)
    power = np.empty((len(parts), groups[-1].bands.stop), np.float32)
    for group in groups:
        np.matmul(parts[:, group.parts], group.weights, out=power[:, group.bands])
    return power, parts.sum(axis=1, keepdims=True)


def _find_wide_frames(
    power: NDArray[np.float32], total: NDArray[np.float32], floor_power: np.float32
) -> NDArray[np.int64]:
    """Returns the frames with a band that lies above the floor, yet too far below the total for a float32 FFT."""
    smallest = total * np.float32(10 ** (-_SINGLE_PRECISION_DB / 10))  # (frames, 1)
    doubtful = (power < smallest) & (power > np.float32(0.5) * floor_power)  # (frames, n_mels)
    return np.flatnonzero(doubtful.any(axis=1))
