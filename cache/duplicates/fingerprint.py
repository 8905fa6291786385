"""Computes fingerprints of strips, and finds pairs with common values: candidates for the same sound.

Re-encoding, gain, resampling and trimming change a file's bytes, and so its hash, but hardly its strip. All strips of a
store have the same bands and frame rate, so they can be compared directly. Fingerprints are stored. If a change here
gives other fingerprints, raise `cache.front_end.log_mel.VERSION`.
"""

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

VALUES = 108
"""Highest number of values in a fingerprint; they take 576 characters of text."""
SHARED_VALUES = 2
"""Number of values that two fingerprints must share before their strips are compared."""
COMMON_VALUE = 64
"""A value in more fingerprints than this is too common to indicate the same sound."""

_FINGERPRINT_BANDS = 8
_FINGERPRINT_SHARE = 0.85  # the highest channels are left out: low bit rates and sample rates lose them
_MOMENTS_PER_SECOND = 60  # whatever the frame rate
_SMOOTHING, _STEP, _SPACING = 7, 9, 6  # moments
_JOINED = 4
_DOUBTFUL_DB = 0.5
_SPREADING = np.uint32(2654435761)  # odd, so that multiplication permutes the 32-bit numbers
_NEIGHBOURS = 16
_VALUES_AT_ONCE = 1_000_000  # of them come up to 16 times as many pairs
_PASSES = 64  # over all values; more would take less memory and more time
_DB_PER_NEPER = 10 / math.log(10)  # of power


def fingerprint_strip(strip: NDArray[np.floating[Any]], frames_per_second: float) -> NDArray[np.uint32]:
    """Returns the fingerprint of a strip: up to `VALUES` ascending values; near-duplicates share some of them.

    A value joins the sub-fingerprints of four moments 0.1 s apart. A sub-fingerprint has one bit for every two
    neighbouring bands: whether their difference in level grows from one moment to the next (equation 1 of Haitsma and
    Kalker 2002, A Highly Robust Audio Fingerprinting System, ISMIR). Each value is taken four times, with all
    combinations of its two least certain bits. Moments at which chance decides more than a quarter of the bits, as in
    silence, give no value. After a permutation the smallest values are kept: a sample that is the same for strips with
    the same sound (bottom-k sketch; Broder 1997, On the Resemblance and Containment of Documents).

    Args:
        strip: Strip in dB, (frames, channels).
        frames_per_second: Frame rate of the strip.

    Returns:
        Values, (values,); no value if the strip is silent, steady or shorter than 0.6 s.
    """
    change = _contrast_change(strip, frames_per_second)  # (bits of a moment, moments)
    joined = change.shape[1] - (_JOINED - 1) * _SPACING
    if joined < 1 or not len(change):
        return np.empty(0, np.uint32)
    change = np.concatenate([change[:, start : start + joined] for start in _SPACING * np.arange(_JOINED)])
    margin = np.abs(change)  # (bits, joined)
    doubts = np.add.reduce(margin < np.float32(_DOUBTFUL_DB), axis=0, dtype=np.uint8)  # (joined,)
    weight = np.uint32(1) << np.arange(len(change), dtype=np.uint32)  # (bits,)
    certain = np.flatnonzero(doubts <= len(change) // 4)  # (values,)
    value = (weight @ (change > 0))[certain]  # (values,)
    least = margin.argmin(axis=0)  # (joined,)
    margin[least, np.arange(joined)] = np.inf
    flip, other_flip = weight[least[certain]], weight[margin.argmin(axis=0)[certain]]  # (values,)
    values = np.concatenate([value, value ^ flip, value ^ other_flip, value ^ flip ^ other_flip])
    spread = np.sort(values * _SPREADING)
    fingerprint: NDArray[np.uint32] = spread[np.diff(spread, prepend=~spread[:1]) != 0][:VALUES]
    return fingerprint


def fingerprint_to_text(fingerprint: NDArray[np.uint32]) -> str:
    """Returns a fingerprint, (values,), as base64 of its little-endian bytes."""
    return base64.b64encode(fingerprint.astype("<u4").tobytes()).decode()


def fingerprint_from_text(text: str) -> NDArray[np.uint32]:
    """Returns the fingerprint in a text of `fingerprint_to_text`, (values,)."""
    return np.frombuffer(base64.b64decode(text), "<u4").astype(np.uint32)


def find_candidates(fingerprints: Iterable[NDArray[np.uint32]]) -> NDArray[np.int64]:
    """Returns the pairs of fingerprints that share `SHARED_VALUES` values, (pairs, 2), in ascending order.

    If many fingerprints hold a value, each is paired with the next 16 only. Near-duplicates stay connected that way,
    and the time grows with the number of values, not of pairs. In memory are at most 16 bytes for each value, and
    half a gigabyte.

    Args:
        fingerprints: Fingerprint of each strip, (values,) each.

    Returns:
        Indices of the two fingerprints of each pair, (pairs, 2).
    """
    held, lengths = _sort_values(fingerprints)
    held, count = held[: _keep_telling(held)], len(lengths)
    value, owner = held.view("<u4")[1::2], held.view("<u4")[::2]
    found = [np.empty(0, np.int64)]
    for block in _cut_owners(lengths, max(_VALUES_AT_ONCE, len(held) // _PASSES)):
        first = np.flatnonzero((owner >= block.start) & (owner < block.stop))
        shared = []
        for distance in range(1, _NEIGHBOURS + 1):
            first = first[: np.searchsorted(first, len(held) - distance)]
            first = first[value[first] == value[first + distance]]
            shared.append(owner[first] * np.uint64(count) + owner[first + distance])
        pair, times = np.unique(np.concatenate(shared), return_counts=True)
        found.append(pair[times >= SHARED_VALUES].astype(np.int64))
    pairs = np.concatenate(found)
    return np.stack([pairs // max(count, 1), pairs % max(count, 1)], axis=1)


def _sort_values(fingerprints: Iterable[NDArray[np.uint32]]) -> tuple[NDArray[np.uint64], list[int]]:
    """Returns value << 32 | owner of all values, ascending, and the number of values of each fingerprint."""
    content, lengths = bytearray(), []
    for fingerprint in fingerprints:
        content += fingerprint.astype("<u4", copy=False).tobytes()
        lengths.append(len(fingerprint))
    held = np.frombuffer(content, "<u4").astype("<u8")
    del content
    held <<= np.uint64(32)
    held |= np.repeat(np.arange(len(lengths), dtype="<u4"), lengths)
    held.sort()
    return held, lengths


def _keep_telling(held: NDArray[np.uint64]) -> int:
    """Move the values that 2 to `COMMON_VALUE` fingerprints hold to the front, in order; returns their number."""
    kept = start = 0
    while start < len(held):
        stop = start + _VALUES_AT_ONCE
        if stop < len(held):  # values that are equal stay together
            stop = int(np.searchsorted(held, held[stop] & ~np.uint64(0xFFFFFFFF)))
            stop = stop if stop > start else int(np.searchsorted(held, held[start] | np.uint64(0xFFFFFFFF), "right"))
        value = held[start:stop] >> np.uint64(32)
        holders = np.diff(np.flatnonzero(np.diff(value, prepend=~value[0])), append=len(value))  # of each value
        telling = held[start:stop][np.repeat((holders > 1) & (holders <= COMMON_VALUE), holders)]
        held[kept : kept + len(telling)] = telling
        kept += len(telling)
        start = stop
    return kept


def _cut_owners(lengths: Sequence[int], most: int) -> Iterator[range]:
    """Yields ranges of the fingerprints, each with at most a number of values, or with one fingerprint."""
    values = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        reached = values[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(values, reached + most, "right")))
        yield range(start, stop)
        start = stop


def _contrast_change(strip: NDArray[np.floating[Any]], frames_per_second: float) -> NDArray[np.float32]:
    """Returns the change over time of the level difference of neighbouring bands, in dB, (bits, moments)."""
    pooling = _pooling(strip.shape[1])
    power = strip[:, : len(pooling)] * np.float32(1 / _DB_PER_NEPER)  # (frames, channels), logarithm of the power
    level = np.log(np.asarray(cv2.exp(power, dst=power)) @ pooling)  # (frames, bands)
    total = np.cumsum(np.diff(level.T, axis=0), axis=1, dtype=np.float64)  # (bits, frames)
    frames_per_moment = frames_per_second / _MOMENTS_PER_SECOND
    frame = np.arange(int((len(strip) - 1) / frames_per_moment)) * frames_per_moment  # (moments,), position in frames
    before = frame.astype(np.int64)
    total = total[:, before] + (frame - before) * (total[:, before + 1] - total[:, before])  # (bits, moments)
    smooth = total[:, _SMOOTHING:] - total[:, :-_SMOOTHING]
    smooth *= _DB_PER_NEPER / (_SMOOTHING * frames_per_moment)
    change: NDArray[np.float32] = (smooth[:, _STEP:] - smooth[:, :-_STEP]).astype(np.float32)
    return change


@lru_cache(maxsize=4)
def _pooling(channels: int) -> NDArray[np.float32]:
    """Returns the weight of each used channel in each band of a fingerprint, (channels, bands)."""
    used = max(min(_FINGERPRINT_BANDS, channels), math.ceil(_FINGERPRINT_SHARE * channels))
    band = np.arange(used) * min(_FINGERPRINT_BANDS, used) // used  # (channels,)
    return np.asarray(band[:, np.newaxis] == np.unique(band), np.float32)
