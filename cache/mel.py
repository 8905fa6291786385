"""Waveform to log-mel strip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cache.config import LogMelConfig

VERSION = 4
"""Raised by hand when the same audio and settings give other numbers."""

_BLOCK_FRAMES = 128  # a megabyte
_MOST_BANDS, _FEWEST_BANDS = 16, 8
_GROUP_PARTS = 200  # a wider group would multiply too many zeros
_BREAK_HZ = 1000.0
_HZ_PER_MEL = 200.0 / 3
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = float(np.log(6.4)) / 27
_SINGLE_PRECISION_DB = 110.0
"""How far a bin may lie below the power of its whole frame for a float32 FFT to be exact enough; a band, whose bins
err independently, by 10 log10 of their number farther. It then misses librosa by 0.006 dB (331 field recordings); at
145 dB, as MP3's low-pass leaves the highest bands, by 0.4 dB."""


@dataclass(frozen=True)
class BandGroup:
    """Neighbouring mel bands, and the part of a packed spectrum that reaches them.

    Attributes:
        bands: Which bands.
        parts: Real and imaginary parts of the bins that any of them weights.
        weights: Mel filters over these parts, (parts, bands): both parts of a bin have the same weight.
    """

    bands: slice
    parts: slice
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class MelFrontEnd:
    """Window and mel filters of one feature configuration.

    Attributes:
        window: Periodic Hann, once for each frame of a block, (_BLOCK_FRAMES, n_fft): NumPy multiplies whole arrays
            faster than rows by one row.
        single_window: The same in float32.
        groups: The Slaney mel filters, without most of their zeros.
        smallest: The share of a frame's power that a band must have for a float32 FFT to be exact enough, (n_mels,).
    """

    window: NDArray[np.float64]
    single_window: NDArray[np.float32]
    groups: tuple[BandGroup, ...]
    smallest: NDArray[np.float32]


@lru_cache(maxsize=4)
def front_end(features: LogMelConfig) -> MelFrontEnd:
    """Returns the front end of a configuration, computed once per process."""
    filters = slaney_filters(features)  # (n_mels, 1 + n_fft // 2)
    bins = filters.sum(axis=1) ** 2 / np.maximum(np.square(filters).sum(axis=1), np.finfo(np.float32).tiny)  # (n_mels,)
    parts_of_bin = np.full(filters.shape[1], 2)
    parts_of_bin[[0, -1]] = 1  # the first and the last bin are real
    groups = tuple(_group_bands(np.repeat(filters, parts_of_bin, axis=1)))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(features.n_fft) / features.n_fft)
    window = np.tile(hann, (_BLOCK_FRAMES, 1))
    smallest = 10 ** (-_SINGLE_PRECISION_DB / 10) / np.maximum(bins, 1)
    return MelFrontEnd(window, window.astype(np.float32), groups, smallest.astype(np.float32))


def _group_bands(filters: NDArray[np.float32]) -> Iterator[BandGroup]:
    """Yields the bands of filters over the parts of a spectrum, (n_mels, n_fft), in groups quick to multiply."""
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

    The default of `librosa.filters.mel`, whose import would take longer than all else that starts a worker. The scale
    is linear to 1 kHz and logarithmic above: M. Slaney, Auditory Toolbox, Interval Research technical report 1998-010.
    """
    mels = np.linspace(_hz_to_mel(features.fmin), _hz_to_mel(features.fmax), features.n_mels + 2)
    edges = np.where(mels < _BREAK_MEL, mels * _HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL)))
    bins = np.fft.rfftfreq(features.n_fft, 1 / features.sample_rate)
    rising = (bins - edges[:-2, np.newaxis]) / np.diff(edges)[:-1, np.newaxis]  # (n_mels, bins)
    falling = (edges[2:, np.newaxis] - bins) / np.diff(edges)[1:, np.newaxis]  # (n_mels, bins)
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, np.newaxis]).astype(np.float32)


def _hz_to_mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return hertz / _HZ_PER_MEL
    return _BREAK_MEL + float(np.log(hertz / _BREAK_HZ)) / _LOG_STEP


def compute_log_mel(waveform: NDArray[np.float32], features: LogMelConfig) -> NDArray[np.float32]:
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
    frames = 1 + len(waveform) // features.hop_length
    windows = _windows(waveform, frames, features)
    strip = np.empty((frames, features.n_mels), np.float32)
    total = np.empty(frames, np.float32)
    blocks = [slice(start, min(start + _BLOCK_FRAMES, frames)) for start in range(0, frames, _BLOCK_FRAMES)]
    for block, power, parts_power in _mel_power(windows, blocks, front.single_window, front.groups):
        strip[block], total[block] = power, parts_power
    floor_power = np.float32(10 ** (features.floor_db / 10))
    wide = _find_wide_frames(strip, total, front.smallest, floor_power)
    rows = [wide[start : start + _BLOCK_FRAMES] for start in range(0, len(wide), _BLOCK_FRAMES)]
    for block, power, _ in _mel_power(windows, rows, front.window, front.groups):
        strip[block] = power
    with np.errstate(divide="ignore"):
        np.log10(strip, out=strip)
    strip *= 10
    return np.maximum(strip, np.float32(features.floor_db), out=strip)


def _windows(waveform: NDArray[np.float32], frames: int, features: LogMelConfig) -> NDArray[np.float32]:
    """Returns a view of the samples of each frame, with zeros beyond both ends, (frames, n_fft)."""
    margin = features.n_fft // 2
    padded = np.empty(margin + len(waveform) + margin, np.float32)
    padded[:margin] = 0
    padded[margin:-margin] = waveform
    padded[-margin:] = 0
    strides = features.hop_length * padded.itemsize, padded.itemsize
    return np.lib.stride_tricks.as_strided(padded, (frames, features.n_fft), strides, writeable=False)


def _mel_power(
    windows: NDArray[np.float32],
    blocks: Sequence[Any],
    window: NDArray[Any],
    groups: tuple[BandGroup, ...],
) -> Iterator[tuple[Any, NDArray[np.float32], NDArray[np.float32]]]:
    """Yields the frames of a block, their mel power, (frames, n_mels), and their total power, (frames,).

    The FFT runs in the precision of the window, the rest in float32. What is yielded is overwritten by the next block.

    Args:
        windows: Samples of all frames, (frames, n_fft).
        blocks: Slices or index arrays of frames, up to `_BLOCK_FRAMES` each.
        window: For each frame of a block, (_BLOCK_FRAMES, n_fft).
        groups: Mel filters.
    """
    buffer = np.empty_like(window)
    mel_power = np.empty((_BLOCK_FRAMES, groups[-1].bands.stop), np.float32)
    every_part = np.ones(window.shape[1], np.float32)
    for block in blocks:
        samples = windows[block]  # (frames, n_fft)
        count = len(samples)
        windowed = buffer[:count]
        windowed[:] = samples
        windowed *= window[:count]
        spectrum = cv2.dft(windowed, dst=windowed, flags=cv2.DFT_ROWS)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is quarantined as non-finite
            parts = np.square(spectrum, out=spectrum).astype(np.float32, copy=False)
            for group in groups:
                np.matmul(parts[:, group.parts], group.weights, out=mel_power[:count, group.bands])
            total = parts @ every_part  # (frames,)
        yield block, mel_power[:count], total


def _find_wide_frames(
    power: NDArray[np.float32],
    total: NDArray[np.float32],
    smallest: NDArray[np.float32],
    floor_power: np.float32,
) -> NDArray[np.int64]:
    """Returns the frames with a band that lies above the floor, yet too far below the total for a float32 FFT."""
    doubtful = (power < total[:, np.newaxis] * smallest) & (power > np.float32(0.5) * floor_power)  # (frames, n_mels)
    return np.flatnonzero(doubtful.any(axis=1))
