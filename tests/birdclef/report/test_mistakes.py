"""The loudest seconds of a strip, found by eye in made-up ones."""

import numpy as np
import pytest

from birdclef.report.mistakes import find_loudest


@pytest.mark.parametrize(("loudest", "first"), [(200, 180), (3, 0), (297, 260)])
def test_frames_lie_around_the_loudest_one_and_inside_the_strip(loudest: int, first: int) -> None:
    strip = np.random.default_rng(0).normal(-60, 3, (300, 8)).astype(np.float16)
    strip[loudest] = -5
    assert find_loudest(strip, 40) == first


def test_whole_strip_begins_at_its_begin() -> None:
    strip = np.full((30, 8), -60, np.float16)
    strip[20] = -5
    assert find_loudest(strip, 30) == 0
