"""The noise bank against a brute-force search over all crops."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from birdclef.strips.frame_levels import compute_frame_levels
from birdclef.strips.noise_bank import build_noise_bank
from birdclef.strips.residency import ResidentStrips

FRAMES = 10

LayOut = Callable[[Sequence[NDArray[np.float16]]], ResidentStrips]


def random_strips(lengths: Sequence[int]) -> list[NDArray[np.float16]]:
    generator = np.random.default_rng(4)
    return [generator.normal(-50, 10, (length, 5)).astype(np.float16) for length in lengths]


def find_quietest(strip: NDArray[np.float16], frames: int) -> int:
    """Returns the first frame of the crop with the least power, tried one by one."""
    power = 10 ** (strip.astype(np.float64) / 10)
    span = min(frames, len(strip))
    return int(np.argmin([power[first : first + span].mean() for first in range(len(strip) - span + 1)]))


def test_bank_holds_the_quietest_crop_of_each_long_strip(lay_out: LayOut) -> None:
    lengths = [50, 19, 20, 200, 5, 21]
    strips = random_strips(lengths)
    resident = lay_out(strips)
    bank = build_noise_bank(resident, compute_frame_levels(resident), FRAMES)
    assert bank.rows.tolist() == [0, 2, 3, 5]  # at least two crops of 10 frames
    assert bank.firsts.tolist() == [find_quietest(strips[row], FRAMES) for row in (0, 2, 3, 5)]


def test_silence_inside_a_strip_is_found(lay_out: LayOut) -> None:
    strip = np.full((60, 2), -20, np.float16)
    strip[33 : 33 + FRAMES] = -90
    resident = lay_out([np.full((40, 2), -100, np.float16), strip])
    bank = build_noise_bank(resident, compute_frame_levels(resident), FRAMES)
    assert bank.firsts[1] == 33


@pytest.mark.parametrize("lengths", [[19, 12, 10], [3, 1]], ids=["one crop", "less than a crop"])
def test_every_strip_serves_if_none_is_two_crops_long(lay_out: LayOut, lengths: list[int]) -> None:
    strips = random_strips(lengths)
    resident = lay_out(strips)
    bank = build_noise_bank(resident, compute_frame_levels(resident), FRAMES)
    assert bank.rows.tolist() == list(range(len(lengths)))
    assert bank.firsts.tolist() == [find_quietest(strip, FRAMES) for strip in strips]
