"""Compares two strips at every lag, to decide whether they hold the same sound.

The results are remembered. If a change here gives other results, raise `cache.front_end.log_mel.VERSION`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from cache.config.features import LogMelConfig

SIMILARITY = 0.55
"""Least similarity of near-duplicates.

Measured over 3 s and more, with 64 and 128 channels: different recordings of a species reach 0.46, generated songs of
the same syllables 0.54. Copies at 50 kbit/s have at least 0.59, and 99 % of the copies at 28 kbit/s have at least 0.55.
With 8 channels, different recordings of a species reach 0.67.
"""
BRIEF_SECONDS = 3.0
BRIEF_SIMILARITY = 0.67
"""Least similarity of near-duplicates that overlap less than `BRIEF_SECONDS`; two calls of one bird reach 0.66."""
LEAST_OVERLAP_SECONDS = 5.0
"""Least overlap of two compared strips; if half of the shorter strip is less, that half."""

_COMPARED_BANDS = 32
_BACKGROUND_SECONDS = 0.5
_LARGEST_DB = 8.0
_LIVE_DB = 6.0
_QUIET_DB = 3.0
_NO_ENERGY = 1e-3


@dataclass(frozen=True)
class Alignment:
    """The lag at which two strips are most similar.

    Attributes:
        lag_seconds: Time by which the same sound comes later in the first strip than in the second.
        overlap_seconds: Length of the overlap at this lag.
        similarity: Correlation over the overlap, at most 1.
    """

    lag_seconds: float
    overlap_seconds: float
    similarity: float

    @property
    def is_near_duplicate(self) -> bool:
        """Whether both strips hold the same sound."""
        return self.similarity >= (SIMILARITY if self.overlap_seconds >= BRIEF_SECONDS else BRIEF_SIMILARITY)


def align_strips(
    first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], features: LogMelConfig
) -> Alignment:
    """Returns the lag at which two strips are most similar, among all lags with enough overlap.

    The levels of up to 32 bands are correlated. Before, two means are subtracted: over 0.5 s, which is the background,
    and over the bands, which is the loudness. The rest, even of noise, is similar only in recordings of the same sound.
    Bands that are empty in one of the strips, as above a low-pass, are left out.

    Args:
        first: Strip in dB, (frames, channels).
        second: Strip in dB, (frames, channels).
        features: Front-end settings of both strips.
    """
    background_frames = features.count_frames(_BACKGROUND_SECONDS)
    first_detail, first_live = _band_detail(first, background_frames)
    second_detail, second_live = _band_detail(second, background_frames)
    live = first_live & second_live
    a, b = (_centre(detail[:, live]) for detail in (first_detail, second_detail))  # (frames, bands)
    shorter = min(len(a), len(b))
    least = max(1, min(features.count_frames(LEAST_OVERLAP_SECONDS), shorter // 2))
    lags = np.arange(least - len(b), len(a) - least + 1)  # frame i of b lies at frame i + lag of a
    length = scipy.fft.next_fast_len(len(a) + len(b), real=True)
    spectrum = (scipy.fft.rfft(a, length, axis=0) * scipy.fft.rfft(b, length, axis=0).conj()).sum(axis=1)
    product = scipy.fft.irfft(spectrum, length)[lags]  # (lags,)
    start, stop = np.maximum(lags, 0), np.minimum(len(a), len(b) + lags)
    energy = _energy_between(a, start, stop) * _energy_between(b, start - lags, stop - lags)  # (lags,)
    similarity = product / np.sqrt(energy + _NO_ENERGY)
    best = int(similarity.argmax())
    return Alignment(
        round(float(lags[best] / features.frames_per_second), 3),
        round(float((stop - start)[best] / features.frames_per_second), 3),
        round(float(similarity[best]), 3),
    )


def _band_detail(
    strip: NDArray[np.floating[Any]], background_frames: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Returns each band's level above its local mean, (frames, bands), and which bands hold sound, (bands,).

    Args:
        strip: Strip in dB, (frames, channels).
        background_frames: Length of the local mean, in frames.
    """
    channels = strip.shape[1]
    first = np.arange(min(_COMPARED_BANDS, channels)) * channels // min(_COMPARED_BANDS, channels)  # (bands,)
    level = np.add.reduceat(strip.astype(np.float32), first, axis=1) / np.diff(first, append=channels)
    quiet, loud = np.percentile(level, (25, 90), axis=0).astype(np.float32)
    live = loud > level.min() + _LIVE_DB
    level = np.maximum(level, quiet - _QUIET_DB)  # fills gaps that an encoder left
    background = uniform_filter1d(level, background_frames, axis=0, mode="nearest")
    return np.asarray(np.clip(level - background, -_LARGEST_DB, _LARGEST_DB), np.float32), live


def _centre(detail: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns details minus their mean over the bands, (frames, bands)."""
    return np.asarray(detail - detail.sum(axis=1, keepdims=True) / max(detail.shape[1], 1), np.float32)


def _energy_between(
    detail: NDArray[np.float32], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns the sum of squares of some ranges of frames, (lags,).

    Args:
        detail: Details, (frames, bands).
        start: First frame of each range, (lags,).
        stop: Frame after the last one of each range, (lags,).
    """
    total = np.append(0, np.cumsum(np.square(detail).sum(axis=1, dtype=np.float64)))
    energy: NDArray[np.float64] = total[stop] - total[start]
    return energy
