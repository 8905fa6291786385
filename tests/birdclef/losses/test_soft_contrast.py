"""Soft-label contrast against a plain loop over GenSCL's equation, in float64, and against the supervised loss."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from birdclef.losses.contrast import ContrastBatch
from birdclef.losses.soft_contrast import SoftContrastLoss
from birdclef.losses.supcon import SupConLoss


def loop_over_equation(
    embeddings: NDArray[np.float64],
    targets: NDArray[np.float64],
    secondary: NDArray[np.bool_],
    temperature: float,
) -> list[float]:
    """Returns the cross-entropy of label and latent similarity of each anchor that is similar to another row."""
    rows = [row / math.sqrt(float(row @ row)) for row in embeddings]
    soft = [target / math.sqrt(float(target @ target)) for target in targets]
    terms = []
    for i in range(len(rows)):
        alike, similarities, denominator = [], [], 0.0
        for j in range(len(rows)):
            label_similarity = float(soft[i] @ soft[j])
            sings = any(secondary[i] & (targets[j] > 0)) or any(secondary[j] & (targets[i] > 0))
            if j != i and not (sings and label_similarity == 0):
                similarities.append(float(rows[i] @ rows[j]) / temperature)
                alike.append(label_similarity)
                denominator += math.exp(similarities[-1])
        if sum(alike) > 0:
            pairs = zip(alike, similarities, strict=True)
            terms.append(-sum(a / sum(alike) * (s - math.log(denominator)) for a, s in pairs))
    return terms


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 12),
    temperature=st.floats(0.05, 5.0),
    linked=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**16),
)
def test_loss_equals_the_equation_for_mixed_labels(rows: int, temperature: float, linked: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    hard = np.eye(7)[generator.integers(0, 7, (2, rows))]
    share = generator.beta(0.4, 0.4, (rows, 1))
    targets = share * hard[0] + (1 - share) * hard[1]
    embeddings, secondary = generator.normal(size=(rows, 5)), generator.random((rows, 7)) < linked
    terms = loop_over_equation(embeddings, targets, secondary, temperature)
    batch = ContrastBatch(
        torch.from_numpy(embeddings),
        torch.zeros(rows, dtype=torch.int64),
        torch.arange(rows),
        torch.from_numpy(secondary) if linked else None,
        torch.from_numpy(targets),
    )
    mean = sum(terms) / max(len(terms), 1)
    assert SoftContrastLoss(temperature)(batch).item() == pytest.approx(mean, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=14),
    linked=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**16),
)
def test_hard_labels_make_it_the_supervised_contrastive_loss(labels: list[int], linked: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, species = torch.randn(len(labels), 5, generator=generator, dtype=torch.float64), torch.tensor(labels)
    secondary = torch.rand(len(labels), 5, generator=generator) < linked
    targets = torch.nn.functional.one_hot(species, 5).double()
    batch = ContrastBatch(rows, species, torch.arange(len(labels)), secondary, targets)
    expected = SupConLoss(0.1, 1.0)(batch).item()
    assert SoftContrastLoss(0.1)(batch).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_rows_that_share_half_a_label_by_hand() -> None:
    """All at one place: log 2 for an anchor that is similar to any row. Labels (1, 0, 0), (1/2, 1/2, 0), (0, 0, 1)."""
    targets = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], dtype=torch.float64)
    batch = ContrastBatch(
        torch.ones(3, 2, dtype=torch.float64), torch.tensor([0, 0, 2]), torch.arange(3), targets=targets
    )
    assert SoftContrastLoss(0.3)(batch).item() == pytest.approx(math.log(2))


def test_rows_that_share_nothing_cost_nothing() -> None:
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = SoftContrastLoss(0.1)(ContrastBatch(rows, torch.arange(4), torch.arange(4), targets=torch.eye(4)))
    loss.backward()
    assert loss.item() == 0.0
    assert rows.grad is not None
    assert torch.equal(rows.grad, torch.zeros_like(rows))


def test_a_batch_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Set ContrastBatch\.targets"):
        SoftContrastLoss(0.1)(ContrastBatch(torch.ones(2, 2), torch.zeros(2), torch.zeros(2)))
