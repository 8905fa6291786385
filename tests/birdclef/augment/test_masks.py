"""Masks against uniform distributions, and against the bounds that the settings promise."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from birdclef.augment.masks import cover, draw_cover

SIGNIFICANCE = 1e-3
SIZE = 40


def drawn(share: float, count: int, probability: float = 1.0, batch: int = 3000) -> NDArray[np.bool_]:
    """Returns the masked places of many crops, (batch, 40)."""
    return draw_cover(batch, SIZE, share, count, probability, torch.Generator().manual_seed(0)).numpy()


def pieces(covered: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the number of masked pieces of each crop, (batch,)."""
    return np.asarray((np.diff(covered.astype(int), axis=1, prepend=0, append=0) == 1).sum(axis=1))


def test_one_mask_is_one_piece_of_any_width_up_to_the_share() -> None:
    covered = drawn(0.3, 1)
    assert (pieces(covered) <= 1).all()
    widths = covered.sum(axis=1)
    assert set(widths) == set(range(13))
    assert stats.chisquare(np.bincount(widths)).pvalue > SIGNIFICANCE


def test_widest_mask_lies_anywhere() -> None:
    covered = drawn(0.25, 1)
    firsts = covered[covered.sum(axis=1) == 10].argmax(axis=1)
    assert stats.chisquare(np.bincount(firsts, minlength=31)).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_all_masks_together_cover_at_most_the_share(share: float, count: int) -> None:
    covered = drawn(share, count)
    assert 0.8 * int(share * SIZE) <= covered.sum(axis=1).max() <= int(share * SIZE)
    assert min(count, 2) <= pieces(covered).max() <= count


def test_masks_lie_on_every_place_but_less_often_at_the_ends() -> None:
    """A mask inside covers its middle from more first places than its ends."""
    rate = drawn(0.2, 2).mean(axis=0)
    assert rate.min() > 0
    assert rate[0] < rate[SIZE // 2]
    np.testing.assert_allclose(rate, rate[::-1], atol=0.03)


@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_share_of_masked_crops_follows_the_probability(probability: float) -> None:
    """Of the crops that are chosen, one in 9 draws 0 of the up to 8 places."""
    masked = int(drawn(0.2, 2, probability).any(axis=1).sum())
    assert stats.binomtest(masked, 3000, probability * 8 / 9).pvalue > SIGNIFICANCE


@pytest.mark.parametrize(("share", "count"), [(0.5, 0), (0.0, 2), (0.02, 2)], ids=["no mask", "no share", "below one"])
def test_mask_of_no_width_covers_nothing(share: float, count: int) -> None:
    assert not drawn(share, count).any()


def test_full_share_can_mask_the_whole_axis() -> None:
    assert drawn(1.0, 1).all(axis=1).any()


def test_bands_or_frames_get_the_level_and_all_else_stays() -> None:
    crops = torch.arange(24.0).view(1, 1, 4, 6)
    bands, frames = (
        torch.tensor([[False, True, False, False]]),
        torch.tensor([[True, False, False, False, False, True]]),
    )
    level = torch.tensor([-1.0, -2.0, -3.0, -4.0]).view(1, 1, 4, 1)
    covered = cover(crops, bands, frames, level)[0, 0].tolist()
    assert covered == [
        [-1, 1, 2, 3, 4, -1],
        [-2, -2, -2, -2, -2, -2],
        [-3, 13, 14, 15, 16, -3],
        [-4, 19, 20, 21, 22, -4],
    ]
