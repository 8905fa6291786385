"""Waveform to log-mel strip."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cache.config.features import LogMelConfig

VERSION = 6
"""Raised by hand when the same audio and settings give other numbers."""

_BLOCK_FRAMES = 128  # a megabyte
_BUFFER = 2048  # elements, of a frame by default
_MOST_BANDS, _FEWEST_BANDS = 16, 8
_GROUP_PARTS = 200  # a wider group would multiply too many zeros
_BREAK_HZ = 1000.0
_HZ_PER_MEL = 200.0 / 3
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = float(np.log(6.4)) / 27
_DB_PER_NEPER = 10 / float(np.log(10))  # of power
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
        window: Periodic Hann, (n_fft,).
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
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(features.n_fft) / features.n_fft)
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


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what overflows is quarantined as non-finite
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
    strip, total = _mel_power(waveform, features, front)
    wide = _find_wide_frames(strip, total, front.smallest, np.float32(10 ** (features.floor_db / 10)))
    for start in range(0, len(wide), _BLOCK_FRAMES):
        rows = wide[start : start + _BLOCK_FRAMES]
        strip[rows] = _precise_mel_power(waveform, rows.tolist(), features, front)
    if np.isfinite(total).all():
        cv2.log(strip, dst=strip)  # defined for finite numbers only, in a fifth of NumPy's time
    else:
        np.log(strip, out=strip)
    strip *= _DB_PER_NEPER
    return np.maximum(strip, np.float32(features.floor_db), out=strip)


@contextmanager
def _small_buffer() -> Iterator[None]:
    """Keep NumPy from passing several rows that do not adjoin through its buffer at once, in twice the time."""
    usual = np.setbufsize(_BUFFER)
    try:
        yield
    finally:
        np.setbufsize(usual)


@_small_buffer()
def _mel_power(
    waveform: NDArray[np.float32], features: LogMelConfig, front: MelFrontEnd
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the mel power of every frame, (frames, n_mels), and its total power, (frames,), by a float32 FFT."""
    mel_power = np.empty((1 + len(waveform) // features.hop_length, features.n_mels), np.float32)
    total = np.empty(len(mel_power), np.float32)
    stretch = np.empty((_BLOCK_FRAMES - 1) * features.hop_length + features.n_fft, np.float32)  # what a block spans
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
    """Fill the target, (samples,), from where a frame begins on, with zeros beyond the waveform's ends."""
    first = frame * features.hop_length - features.n_fft // 2
    begin, end = max(0, -first), min(len(target), len(waveform) - first)
    target[:begin] = 0
    target[begin:end] = waveform[first + begin : first + end]
    target[end:] = 0


def _write_mel_power(
    windowed: NDArray[Any], groups: tuple[BandGroup, ...], mel_power: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Write the mel power of frames; returns the power of all parts of their spectra, (frames, n_fft).

    The FFT runs in the precision of the samples, the rest in float32.

    Args:
        windowed: Samples of each frame, (frames, n_fft); they are overwritten.
        groups: Mel filters.
        mel_power: Where to write, (frames, n_mels).
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
    """Returns the frames with a band that lies above the floor, yet too far below the total for a float32 FFT."""
    doubtful = (power < total[:, np.newaxis] * smallest) & (power > np.float32(0.5) * floor_power)  # (frames, n_mels)
    return np.flatnonzero(doubtful.any(axis=1))
