"""Windows of drawn strips, which must cover them, and of a few by hand."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdclef.strips.windows import plan_windows


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
