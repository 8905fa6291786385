"""Shares and partners of mixup against scipy's distributions."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from birdclef.augment.embeddings import mix_embeddings
from birdclef.augment.mixup import mixup

SIGNIFICANCE = 1e-3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_crops(batch: int, channels: int = 12, frames: int = 40) -> Tensor:
    return torch.rand(batch, 1, channels, frames, generator=seeded(9))


def test_partners_of_mixup_are_a_shuffle() -> None:
    _, targets, partner_of = mixup(random_crops(64, 2, 2), torch.eye(64), 5.0, seeded(), mix_embeddings)
    partners = (targets - torch.diag(targets.diagonal())).argmax(dim=1)
    partners = torch.where(targets.diagonal() > 0.9999, torch.arange(64), partners)
    assert torch.equal(partners, partner_of)
    assert sorted(partners.tolist()) == list(range(64))
    assert partners.tolist() != list(range(64))


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0, 4.0])
def test_shares_of_mixup_are_beta_distributed(alpha: float) -> None:
    """A crop that meets itself shows no share; those few are left out."""
    _, targets, _ = mixup(random_crops(1000, 1, 1), torch.eye(1000), alpha, seeded(), mix_embeddings)
    shares = targets.diagonal()[(targets > 0).sum(dim=1) == 2].double().numpy()
    assert len(shares) > 980
    beta = stats.beta(alpha, alpha)
    assert shares.mean() == pytest.approx(beta.mean(), abs=4 * beta.std() / np.sqrt(1000))
    assert shares.var() == pytest.approx(beta.var(), rel=0.15)
    inner = (shares > 1.1e-4) & (shares < 1 - 1.1e-4)  # the tails end at 1e-4, where a share still has a finite level
    low, high = beta.cdf([1.1e-4, 1 - 1.1e-4])
    assert stats.kstest((beta.cdf(shares[inner]) - low) / (high - low), "uniform").pvalue > SIGNIFICANCE


def test_mixup_leaves_the_targets_it_was_given() -> None:
    targets = torch.eye(8)
    _, mixed, _ = mixup(random_crops(8), targets, 1.0, seeded(), mix_embeddings)
    assert torch.equal(targets, torch.eye(8))
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, targets)
