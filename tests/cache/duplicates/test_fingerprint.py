"""Fingerprints against a plain loop over their definition, and the pairs that share some against a double loop."""

import math
import tracemalloc
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cache.duplicates.fingerprint import (
    COMMON_VALUE,
    VALUES,
    find_candidates,
    fingerprint_from_text,
    fingerprint_strip,
    fingerprint_to_text,
)

FPS = 62.5


@pytest.mark.parametrize(("channels", "frames_per_second"), [(64, 62.5), (8, 31.25)])
def test_fingerprint_is_that_of_a_plain_loop(channels: int, frames_per_second: float) -> None:
    strip = np.random.default_rng(3).normal(-50, 8, (round(1.1 * frames_per_second), channels)).astype(np.float32)
    assert fingerprint_strip(strip, frames_per_second).tolist() == plain_fingerprint(strip, frames_per_second)


def plain_fingerprint(strip: NDArray[np.float32], frames_per_second: float) -> list[int]:
    used = max(8, math.ceil(0.85 * strip.shape[1]))
    bands = [[channel for channel in range(used) if channel * 8 // used == band] for band in range(8)]
    level = [[10 * math.log10(sum(10 ** (float(row[c]) / 10) for c in band)) for band in bands] for row in strip]
    contrast = [[row[band + 1] - row[band] for band in range(7)] for row in level]

    def until(moment: int, bit: int) -> float:
        """The contrast added up over the frames to this moment, 1/60 s each."""
        frame = moment * frames_per_second / 60
        whole = sum(row[bit] for row in contrast[: int(frame) + 1])
        return whole + (frame - int(frame)) * contrast[int(frame) + 1][bit]

    def smooth(moment: int, bit: int) -> float:
        return (until(moment + 7, bit) - until(moment, bit)) / (7 * frames_per_second / 60)

    values = set()
    moment = 0
    while (moment + 18 + 9 + 7 + 1) * frames_per_second / 60 <= len(strip) - 1:  # the last moment ends by then
        places = [(moment + later, bit) for later in (0, 6, 12, 18) for bit in range(7)]
        changes = [smooth(at + 9, bit) - smooth(at, bit) for at, bit in places]
        if sum(abs(change) < 0.5 for change in changes) <= 7:
            value = sum(2**place for place, change in enumerate(changes) if change > 0)
            least, other = sorted(range(28), key=lambda place: abs(changes[place]))[:2]
            values |= {value, value ^ 2**least, value ^ 2**other, value ^ 2**least ^ 2**other}
        moment += 1
    return sorted(value * 2654435761 % 2**32 for value in values)[:VALUES]


def test_fingerprint_survives_as_text_of_at_most_600_characters() -> None:
    strip = np.random.default_rng(4).normal(-50, 8, (4000, 64)).astype(np.float32)
    fingerprint = fingerprint_strip(strip, FPS)
    text = fingerprint_to_text(fingerprint)
    assert len(fingerprint) == VALUES
    assert len(text) <= 600
    np.testing.assert_array_equal(fingerprint_from_text(text), fingerprint)
    assert fingerprint_from_text(fingerprint_to_text(fingerprint[:0])).size == 0


@pytest.mark.parametrize(("frames", "channels"), [(1, 128), (20, 128), (300, 1)])
def test_what_is_too_short_or_narrow_has_no_fingerprint(frames: int, channels: int) -> None:
    strip = np.random.default_rng(4).normal(-50, 8, (frames, channels)).astype(np.float32)
    assert fingerprint_strip(strip, FPS).size == 0


@pytest.mark.parametrize("at_once", [1, 100, 1_000_000])
def test_candidates_are_those_of_a_double_loop(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.duplicates.fingerprint._VALUES_AT_ONCE", at_once)
    rng = np.random.default_rng(6)
    fingerprints = [np.unique(rng.integers(0, 900, rng.integers(0, 20)).astype(np.uint32)) for _ in range(150)]
    holders = Counter(int(value) for fingerprint in fingerprints for value in fingerprint)
    assert max(holders.values()) <= 17  # beyond it, only neighbours are paired
    expected = [
        [first, second]
        for first, second in combinations(range(150), 2)
        if len(set(fingerprints[first].tolist()) & set(fingerprints[second].tolist())) >= 2
    ]
    assert expected
    assert find_candidates(fingerprints).tolist() == expected
    assert find_candidates([]).shape == (0, 2)


def test_memory_is_16_bytes_for_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sort with its copies took 77; 1.6 GB are left of a million recordings with 100 values each."""
    monkeypatch.setattr("cache.duplicates.fingerprint._VALUES_AT_ONCE", 1 << 14)
    rng = np.random.default_rng(6)
    fingerprints = [rng.integers(0, 2**32, 100, dtype=np.uint32) for _ in range(10_000)] * 2
    tracemalloc.start()
    try:
        assert len(find_candidates(fingerprints)) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 16 * 100 * 20_000
    finally:
        tracemalloc.stop()


def test_a_value_that_many_hold_is_ignored() -> None:
    common = np.array([7, 8], np.uint32)
    assert len(find_candidates([common] * (COMMON_VALUE + 1))) == 0


def test_many_copies_stay_connected() -> None:
    pairs = find_candidates([np.array([7, 8], np.uint32)] * COMMON_VALUE)
    edges = coo_array((np.ones(len(pairs)), pairs.T), shape=(COMMON_VALUE, COMMON_VALUE))
    assert connected_components(edges, directed=False)[0] == 1
