"""Computes the log-mel strip of a waveform."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cache.config.features import LogMelConfig
from cache.front_end.mel_scale import mel_edges

VERSION = 6
"""Version of the log-mel; raised by hand when the same audio and settings give other numbers."""

_BLOCK_FRAMES = 128  # one megabyte of samples in float32
_BUFFER = 2048  # elements, as many as a frame has by default
_MOST_BANDS, _FEWEST_BANDS = 16, 8
_GROUP_PARTS = 200  # a wider group of bands would multiply too many zeros
_DB_PER_NEPER = 10 / float(np.log(10))  # of power
_SINGLE_PRECISION_DB = 110.0
"""Largest distance of a bin below the power of its whole frame at which a float32 FFT is exact enough. The bins of a
band err independently, so the distance of a band may be larger by 10 log10 of its number of bins. Up to this distance
the log-mel differs from librosa by at most 0.006 dB (331 field recordings). At 145 dB, where MP3's low-pass leaves the
highest bands, it differs by 0.4 dB."""


@dataclass(frozen=True)
class BandGroup:
    """Neighbouring mel bands, and the parts of a packed spectrum that they need.

    Attributes:
        bands: Range of the bands.
        parts: Range of the real and imaginary parts of all bins that the bands weight.
        weights: Mel filters over these parts, (parts, bands); both parts of a bin have the same weight.
    """

    bands: slice
    parts: slice
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class MelFrontEnd:
    """Window and mel filters of one feature configuration.

    Attributes:
        window: Periodic Hann, (n_fft,).
        single_window: The same window in float32, (n_fft,).
        groups: Slaney mel filters, without most of their zeros.
        smallest: Least share of a frame's power that makes a float32 FFT exact enough for a band, (n_mels,).
    """

    window: NDArray[np.float64]
    single_window: NDArray[np.float32]
    groups: tuple[BandGroup, ...]
    smallest: NDArray[np.float32]


@lru_cache(maxsize=4)
def front_end(features: LogMelConfig) -> MelFrontEnd:
    """Returns window and filters of a configuration; they are computed once per process."""
    filters = slaney_filters(features)  # (n_mels, 1 + n_fft // 2)
    bins = filters.sum(axis=1) ** 2 / np.maximum(np.square(filters).sum(axis=1), np.finfo(np.float32).tiny)  # (n_mels,)
    parts_of_bin = np.full(filters.shape[1], 2)
    parts_of_bin[[0, -1]] = 1  # the first and the last bin are real
    groups = tuple(_group_bands(np.repeat(filters, parts_of_bin, axis=1)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(features.n_fft) / features.n_fft)
    smallest = 10 ** (-_SINGLE_PRECISION_DB / 10) / np.maximum(bins, 1)
    return MelFrontEnd(window, window.astype(np.float32), groups, smallest.astype(np.float32))


def _group_bands(filters: NDArray[np.float32]) -> Iterator[BandGroup]:
    """Yields groups of bands that are fast to multiply.

    Args:
        filters: Mel filters over the parts of a spectrum, (n_mels, n_fft).
    """
    first = 0
    while first < len(filters):
        for count in (_MOST_BANDS, _FEWEST_BANDS):
            bands = slice(first, min(first + count, len(filters)))
            weighted = np.flatnonzero(filters[bands].any(axis=0))
            parts = slice(weighted[0], weighted[-1] + 1) if len(weighted) else slice(0, 1)
            if parts.stop - parts.start <= _GROUP_PARTS:
                break
        yield BandGroup(bands, parts, np.ascontiguousarray(filters[bands, parts].T, np.float32))
        first = bands.stop


def slaney_filters(features: LogMelConfig) -> NDArray[np.float32]:
    """Returns triangular mel filters of equal area on Slaney's scale, (n_mels, 1 + n_fft // 2).

    They are the default of `librosa.filters.mel`. librosa is not used, because its import takes longer than the rest of
    a worker's start.
    """
    edges = mel_edges(features)
    bins = np.fft.rfftfreq(features.n_fft, 1 / features.sample_rate)
    rising = (bins - edges[:-2, np.newaxis]) / np.diff(edges)[:-1, np.newaxis]  # (n_mels, bins)
    falling = (edges[2:, np.newaxis] - bins) / np.diff(edges)[1:, np.newaxis]  # (n_mels, bins)
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, np.newaxis]).astype(np.float32)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # recordings that overflow are quarantined as non-finite
def compute_log_mel(waveform: NDArray[np.float32], features: LogMelConfig) -> NDArray[np.float32]:
    """Returns the log-mel strip of a waveform: 10 log10(mel power), dB re 1, floored, without normalisation.

    The definition is that of `librosa.feature.melspectrogram(power=2, center=True, pad_mode="constant")`. Above the
    floor, the values differ from librosa's by at most 0.01 dB.

    Args:
        waveform: (samples,) in [-1, 1].
        features: Front-end settings.

    Returns:
        Strip, (frames, n_mels) with frames = 1 + samples // hop_length, in dB >= `floor_db`.
    """
    front = front_end(features)
    strip, total = _mel_power(waveform, features, front)
    wide = _find_wide_frames(strip, total, front.smallest, np.float32(10 ** (features.floor_db / 10)))
    for start in range(0, len(wide), _BLOCK_FRAMES):
        rows = wide[start : start + _BLOCK_FRAMES]
        strip[rows] = _precise_mel_power(waveform, rows.tolist(), features, front)
    if np.isfinite(total).all():
        cv2.log(strip, dst=strip)  # takes a fifth of NumPy's time, but is defined for finite numbers only
    else:
        np.log(strip, out=strip)
    strip *= _DB_PER_NEPER
    return np.maximum(strip, np.float32(features.floor_db), out=strip)


@contextmanager
def _small_buffer() -> Iterator[None]:
    """Limit NumPy's buffer to one row: with several separate rows per buffer, NumPy takes twice the time."""
    usual = np.setbufsize(_BUFFER)
    try:
        yield
    finally:
        np.setbufsize(usual)


@_small_buffer()
def _mel_power(
    waveform: NDArray[np.float32], features: LogMelConfig, front: MelFrontEnd
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the mel power of all frames, (frames, n_mels), and their total power, (frames,), by a float32 FFT."""
    mel_power = np.empty((1 + len(waveform) // features.hop_length, features.n_mels), np.float32)
    total = np.empty(len(mel_power), np.float32)
    stretch = np.empty(
        (_BLOCK_FRAMES - 1) * features.hop_length + features.n_fft, np.float32
    )  # the samples of a block of frames
    strides = features.hop_length * stretch.itemsize, stretch.itemsize
    shape = _BLOCK_FRAMES, features.n_fft
    windows = np.lib.stride_tricks.as_strided(stretch, shape, strides, writeable=False)
    windowed = np.empty(shape, np.float32)
    every_part = np.ones(features.n_fft, np.float32)
    for start in range(0, len(mel_power), _BLOCK_FRAMES):
        block = slice(start, min(start + _BLOCK_FRAMES, len(mel_power)))
        inside = slice(block.stop - start)
        _copy_samples(waveform, start, features, stretch)
        np.multiply(windows[inside], front.single_window, out=windowed[inside])
        total[block] = _write_mel_power(windowed[inside], front.groups, mel_power[block]) @ every_part
    return mel_power, total


def _precise_mel_power(
    waveform: NDArray[np.float32], frames: Sequence[int], features: LogMelConfig, front: MelFrontEnd
) -> NDArray[np.float32]:
    """Returns the mel power of up to _BLOCK_FRAMES frames, (frames, n_mels), by a float64 FFT."""
    mel_power = np.empty((len(frames), features.n_mels), np.float32)
    windowed = np.empty((len(frames), features.n_fft))
    for frame, samples in zip(frames, windowed, strict=True):
        _copy_samples(waveform, frame, features, samples)
    windowed *= front.window
    _write_mel_power(windowed, front.groups, mel_power)
    return mel_power


def _copy_samples(waveform: NDArray[np.float32], frame: int, features: LogMelConfig, target: NDArray[Any]) -> None:
    """Fill the target, (samples,), with the waveform from the start of a frame on; zeros beyond the waveform's ends."""
    first = frame * features.hop_length - features.n_fft // 2
    begin, end = max(0, -first), min(len(target), len(waveform) - first)
    target[:begin] = 0
    target[begin:end] = waveform[first + begin : first + end]
    target[end:] = 0


def _write_mel_power(
    windowed: NDArray[Any], groups: tuple[BandGroup, ...], mel_power: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Writes the mel power of frames; returns the power of all parts of their spectra, (frames, n_fft).

    The FFT has the precision of the samples, the rest is float32.

    Args:
        windowed: Windowed samples of each frame, (frames, n_fft); they are overwritten.
        groups: Mel filters.
        mel_power: Output, (frames, n_mels).
    """
    parts = cv2.dft(windowed, dst=windowed, flags=cv2.DFT_ROWS).astype(np.float32, copy=False)
    np.square(parts, out=parts)
    for group in groups:
        np.matmul(parts[:, group.parts], group.weights, out=mel_power[:, group.bands])
    return parts


def _find_wide_frames(
    power: NDArray[np.float32],
    total: NDArray[np.float32],
    smallest: NDArray[np.float32],
    floor_power: np.float32,
) -> NDArray[np.int64]:
    """Returns the frames that need a float64 FFT, (frames,): a band is above the floor, but too far below the total.

    Args:
        power: Mel power, (all frames, n_mels).
        total: Total power, (all frames,).
        smallest: As in `MelFrontEnd`.
        floor_power: Power of the lowest stored level.
    """
    doubtful = (power < total[:, np.newaxis] * smallest) & (power > np.float32(0.5) * floor_power)  # (frames, n_mels)
    return np.flatnonzero(doubtful.any(axis=1))
