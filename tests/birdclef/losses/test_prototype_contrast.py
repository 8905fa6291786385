"""ProtoCLR against a plain float64 loop over its equation, and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from birdclef.losses.contrast import ContrastBatch
from birdclef.losses.prototype_contrast import PrototypeContrastLoss


def loop_over_equation(
    embeddings: NDArray[np.float64], labels: list[int], secondary: NDArray[np.bool_], temperature: float
) -> list[float]:
    """Returns the loss of each anchor; https://arxiv.org/abs/2409.08589."""
    rows = [row / math.sqrt(float(row @ row)) for row in embeddings]
    prototypes = {
        k: sum(row for row, label in zip(rows, labels, strict=True) if label == k) / labels.count(k)
        for k in set(labels)
    }
    terms = []
    for i, anchor in enumerate(rows):
        similarity = {k: float(anchor @ prototype) / temperature for k, prototype in prototypes.items()}
        seen = [k for k in prototypes if k == labels[i] or not secondary[i, k]]
        terms.append(-math.log(math.exp(similarity[labels[i]]) / sum(math.exp(similarity[k]) for k in seen)))
    return terms


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    temperature=st.floats(0.05, 5.0),
    linked=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**16),
)
def test_loss_equals_the_equation_for_any_labels(
    labels: list[int], temperature: float, linked: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(len(labels), 5))
    secondary = generator.random((len(labels), 5)) < linked
    expected = loop_over_equation(embeddings, labels, secondary, temperature)
    batch = ContrastBatch(
        torch.from_numpy(embeddings),
        torch.tensor(labels),
        torch.arange(len(labels)),
        torch.from_numpy(secondary) if linked else None,
    )
    mean = PrototypeContrastLoss(5, temperature)(batch).item()
    assert mean == pytest.approx(sum(expected) / len(expected), rel=1e-9, abs=1e-9)


def test_prototypes_are_not_normalised_by_hand() -> None:
    """Two rows at right angles have the prototype (1/2, 1/2): cosine 1/2 to each, and 0 to the other class's (0, 0).

    The rows of the other class are opposite; each is 1/2, -1/2 or 1/2 from the first prototype.
    """
    rows = torch.tensor([[1.0, 0], [0, 1], [1, 0], [-1, 0]], dtype=torch.float64)
    expected = 2 * (math.log(math.exp(0.5) + 1) - 0.5) + math.log(math.exp(0.5) + 1) + math.log(math.exp(-0.5) + 1)
    batch = ContrastBatch(rows, torch.tensor([3, 3, 8, 8]), torch.arange(4))
    assert PrototypeContrastLoss(9, 1.0)(batch).item() == pytest.approx(expected / 4)


def test_a_batch_that_stands_there_twice_costs_the_same() -> None:
    rows, labels = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 2, 0, 3, 1])
    once = PrototypeContrastLoss(5, 0.1)(ContrastBatch(rows, labels, torch.arange(7)))
    twice = PrototypeContrastLoss(5, 0.1)(ContrastBatch(rows.repeat(2, 1), labels.repeat(2), torch.arange(14)))
    assert twice.item() == pytest.approx(once.item(), rel=1e-6)


def test_one_species_costs_nothing() -> None:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = PrototypeContrastLoss(5, 0.1)(ContrastBatch(rows, torch.full((5,), 3), torch.arange(5)))
    loss.backward()
    assert loss.item() == 0.0
    assert rows.grad is not None
    assert torch.equal(rows.grad, torch.zeros_like(rows))
