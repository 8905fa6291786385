"""Crops against a loop over samples and frames; offsets against the uniform distribution."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from birdclef.strips.crops import draw_offsets, gather_crops, gather_windows
from birdclef.strips.residency import ResidentStrips

CHANNELS = 3

LayOut = Callable[[Sequence[NDArray[np.float16]]], ResidentStrips]


def random_strips(lengths: list[int], seed: int = 0) -> list[NDArray[np.float16]]:
    generator = np.random.default_rng(seed)
    return [generator.normal(-50, 10, (length, CHANNELS)).astype(np.float16) for length in lengths]


def read_frame(strip: NDArray[np.float16], position: float) -> NDArray[np.float64]:
    """Returns the interpolated frame of a strip repeated without end, (channels,) float64."""
    lower = int(np.floor(position))
    weight = position - lower
    below, above = (strip[frame % len(strip)].astype(np.float64) for frame in (lower, lower + 1))
    return (1 - weight) * below + weight * above


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    frames=st.integers(1, 15),
    seed=st.integers(0, 2**16),
)
def test_crops_equal_a_loop_that_wraps_and_interpolates(
    lay_out: LayOut, lengths: list[int], frames: int, seed: int
) -> None:
    strips = random_strips(lengths, seed)
    generator = np.random.default_rng(seed)
    rows = generator.integers(len(lengths), size=5)
    positions = generator.uniform(-20, 40, (5, frames)).astype(np.float32)
    crops = gather_crops(lay_out(strips), torch.from_numpy(rows), torch.from_numpy(positions))
    expected = np.array(
        [
            np.stack([read_frame(strips[row], float(position)) for position in line]).T[None]
            for row, line in zip(rows, positions, strict=True)
        ]
    )
    assert crops.shape == (5, 1, CHANNELS, frames)
    assert crops.dtype == torch.float32
    np.testing.assert_allclose(crops.numpy(), expected, atol=1e-4)


def test_whole_positions_give_stored_values_bit_for_bit(lay_out: LayOut) -> None:
    strips = random_strips([10, 7])
    crops = gather_crops(lay_out(strips), torch.tensor([1, 0]), torch.tensor([[2.0, 3.0], [8.0, 9.0]]))
    np.testing.assert_array_equal(crops[0, 0].numpy(), strips[1][2:4].T.astype(np.float32))
    np.testing.assert_array_equal(crops[1, 0].numpy(), strips[0][8:10].T.astype(np.float32))


def test_halfway_between_the_last_and_the_first_frame_is_their_mean(lay_out: LayOut) -> None:
    strip = np.array([[-10.0], [-20.0], [-40.0]], np.float16)
    crop = gather_crops(lay_out([strip]), torch.tensor([0]), torch.tensor([[2.5]]))
    assert crop.item() == -25.0


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    frames=st.integers(1, 15),
    seed=st.integers(0, 2**16),
)
def test_windows_equal_a_loop_that_wraps(lay_out: LayOut, lengths: list[int], frames: int, seed: int) -> None:
    strips = random_strips(lengths, seed)
    generator = np.random.default_rng(seed)
    rows = generator.integers(len(lengths), size=5)
    firsts = np.array([generator.integers(lengths[row]) for row in rows])
    windows = gather_windows(lay_out(strips), torch.from_numpy(rows), torch.from_numpy(firsts), frames)
    assert windows.shape == (5, 1, CHANNELS, frames)
    assert windows.dtype == torch.float32
    for window, row, first in zip(windows, rows, firsts, strict=True):
        repeated = np.concatenate([strips[row]] * (2 + frames))
        np.testing.assert_array_equal(window[0].numpy(), repeated[first : first + frames].T.astype(np.float32))


@pytest.mark.parametrize(
    ("length", "places"),
    [(20, 13), (9, 2), (8, 1), (5, 5), (1, 1)],
    ids=["long", "one frame of room", "exactly the crop", "shorter than the crop", "one frame"],
)
def test_offsets_cover_every_place_uniformly(length: int, places: int) -> None:
    """A crop of 8 frames fits 20 - 8 + 1 = 13 times into a strip of 20; in a shorter strip any frame may be first."""
    offsets = draw_offsets(torch.full((20_000,), length), 8, torch.Generator().manual_seed(0))
    assert offsets.shape == (20_000,)
    assert offsets.dtype == torch.float32
    assert set(offsets.tolist()) == set(range(places))
    counts = np.bincount(offsets.long().numpy(), minlength=places)
    assert places == 1 or stats.chisquare(counts).pvalue > 1e-3


def test_offsets_of_a_batch_stay_in_their_own_strips() -> None:
    lengths = torch.tensor([9, 200, 3]).repeat(2000)
    offsets = draw_offsets(lengths, 8, torch.Generator().manual_seed(1)).view(-1, 3)
    assert offsets.max(dim=0).values.tolist() == [1.0, 192.0, 2.0]
    assert offsets.min(dim=0).values.tolist() == [0.0, 0.0, 0.0]


def test_offsets_follow_their_generator() -> None:
    lengths = torch.full((64,), 1000)
    first, again, other = (draw_offsets(lengths, 8, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
