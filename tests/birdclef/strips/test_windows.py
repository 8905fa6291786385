"""Windows of drawn strips, which must cover them, and of a few by hand."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdclef.strips.windows import plan_windows, shift_inside


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5), frames=st.integers(1, 20), stride=st.integers(1, 20)
)
def test_windows_cover_every_frame_and_end_with_their_strip(lengths: list[int], frames: int, stride: int) -> None:
    stride = min(stride, frames)
    rows, firsts = plan_windows(torch.tensor(lengths), frames, stride)
    assert rows.dtype == firsts.dtype == torch.int64
    assert rows.tolist() == sorted(rows.tolist())
    for row, length in enumerate(lengths):
        own = firsts[rows == row].tolist()
        assert len(own) == len(set(own))
        assert own == sorted(own)
        assert all(second - first <= stride for first, second in itertools.pairwise(own))
        covered = {frame for first in own for frame in range(first, first + frames)}
        assert covered >= set(range(length))
        assert own[0] == 0
        assert own[-1] == max(length - frames, 0)


@pytest.mark.parametrize(
    ("length", "expected"),
    [(25, [0, 5, 10, 15]), (27, [0, 5, 10, 15, 17]), (10, [0]), (11, [0, 1]), (3, [0]), (16, [0, 5, 6])],
)
def test_windows_of_10_frames_every_5_by_hand(length: int, expected: list[int]) -> None:
    rows, firsts = plan_windows(torch.tensor([length]), 10, 5)
    assert firsts.tolist() == expected
    assert rows.tolist() == [0] * len(expected)


def test_windows_at_a_broken_stride_do_not_drift() -> None:
    _, firsts = plan_windows(torch.tensor([300]), 10, 10.4)  # the tenth begins at frame 104, not 100
    assert firsts[10].item() == 104
    assert firsts.tolist() == [*(round(10.4 * number) for number in range(28)), 290]


def test_shifted_windows_stay_inside_their_strips() -> None:
    firsts, lengths = np.array([0, 5, 20, 0]), np.array([30, 30, 30, 7])
    assert shift_inside(firsts, -3, lengths, 10).tolist() == [0, 2, 17, 0]
    assert shift_inside(firsts, 3, lengths, 10).tolist() == [3, 8, 20, 0]
    assert shift_inside(5, 99, 30, 10) == 20
