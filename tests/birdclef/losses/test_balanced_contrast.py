"""Balanced contrast against a plain loop over section 3.3 of Zhu et al. 2022, in float64, and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from birdclef.losses.balanced_contrast import BalancedContrastLoss
from birdclef.losses.contrast import ContrastBatch

CLASSES = 4


def loop_over_equation(
    embeddings: NDArray[np.float64],
    prototypes: NDArray[np.float64],
    labels: list[int],
    secondary: NDArray[np.bool_],
    temperature: float,
) -> list[float]:
    """Returns L_BCL of each anchor; the mean of a class goes over the terms that it has for the anchor."""
    rows = [row / math.sqrt(float(row @ row)) for row in [*embeddings, *prototypes]]
    count = len(labels)
    terms = []
    for i in range(count):
        denominator, positives = 0.0, []
        for k in range(CLASSES):
            if k != labels[i] and secondary[i, k]:
                continue
            members = [j for j in range(count) if labels[j] == k and j != i]
            if k != labels[i]:
                members = [j for j in members if not secondary[j, labels[i]]]
            similarities = [float(rows[i] @ rows[j]) / temperature for j in [*members, count + k]]
            denominator += sum(math.exp(s) for s in similarities) / len(similarities)
            if k == labels[i]:
                positives = similarities
        terms.append(-sum(s - math.log(denominator) for s in positives) / len(positives))
    return terms


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=12),
    temperature=st.floats(0.05, 5.0),
    linked=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**16),
)
def test_loss_equals_the_equation_for_any_labels(
    labels: list[int], temperature: float, linked: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    embeddings, prototypes = generator.normal(size=(len(labels), 5)), generator.normal(size=(CLASSES, 5))
    secondary = generator.random((len(labels), CLASSES)) < linked
    expected = loop_over_equation(embeddings, prototypes, labels, secondary, temperature)
    batch = ContrastBatch(
        torch.from_numpy(embeddings),
        torch.tensor(labels),
        torch.arange(len(labels)),
        torch.from_numpy(secondary) if linked else None,
    )
    start = torch.from_numpy(prototypes)
    mean = BalancedContrastLoss(start, temperature)(batch).item()
    assert mean == pytest.approx(sum(expected) / len(expected), rel=1e-9, abs=1e-9)


def test_a_frequent_class_weighs_as_much_as_a_rare_one_by_hand() -> None:
    """Each row meets its class at cosine 1 and the other, however many rows it has, at 0: log(e + 1) - 1."""
    prototypes = torch.eye(2, dtype=torch.float64)
    for negatives in (0, 1, 50):
        rows = torch.tensor([[1.0, 0], *[[0, 1]] * negatives], dtype=torch.float64)
        labels = torch.tensor([0, *[1] * negatives])
        loss = BalancedContrastLoss(prototypes, 1.0)(ContrastBatch(rows, labels, torch.arange(len(rows))))
        assert loss.item() == pytest.approx(math.log(math.e + 1) - 1)


def test_prototypes_learn_to_stand_apart() -> None:
    """Classes without rows are pushed away from the rows of others; the own prototype is pulled."""
    loss = BalancedContrastLoss(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), 1.0)
    loss(ContrastBatch(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.tensor([0]))).backward()
    gradient = loss.prototypes.grad
    assert gradient is not None
    assert gradient[0, 0] < 0 < gradient[1, 0]
    assert list(loss.state_dict()) == ["prototypes"]
