"""Draws against scipy's distributions."""

import torch
from scipy import stats

from birdclef.augment.draws import draw_between, draw_chosen, draw_uniform, per_crop


def test_draws_have_their_distributions_and_come_from_the_generator() -> None:
    def drawn() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        return [
            draw_uniform(2000, generator),
            draw_between(2000, (-3.0, 9.0), generator),
            draw_chosen(2000, 0.3, generator),
        ]

    uniform, between, chosen = drawn()
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(between.numpy(), stats.uniform(-3, 12).cdf).pvalue > 1e-3
    assert stats.binomtest(int(chosen.sum()), 2000, 0.3).pvalue > 1e-3
    assert all(torch.equal(*pair) for pair in zip((uniform, between, chosen), drawn(), strict=True))


def test_value_of_a_crop_broadcasts_over_its_cells() -> None:
    assert (torch.zeros(2, 1, 3, 4) + per_crop(torch.tensor([1.0, 2.0]))).flatten(1).unique(dim=1).tolist() == [
        [1],
        [2],
    ]
