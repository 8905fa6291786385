"""Parametric contrast against a plain loop over the equation of Cui et al. 2021, in float64, and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from birdclef.losses.contrast import ContrastBatch
from birdclef.losses.parametric_contrast import ParametricContrastLoss

PRIOR = np.array([0.6, 0.25, 0.1, 0.05])


def loop_over_equation(
    embeddings: NDArray[np.float64],
    centres: NDArray[np.float64],
    labels: list[int],
    secondary: NDArray[np.bool_],
    temperature: float,
) -> list[float]:
    """Returns the loss of each anchor; pairs have the paper's alpha of 0.05, centres its beta of 1."""
    rows = [row / math.sqrt(float(row @ row)) for row in embeddings]
    heads = [centre / math.sqrt(float(centre @ centre)) for centre in centres]
    terms = []
    for i, anchor in enumerate(rows):
        own, denominator, weighted = labels[i], 0.0, []
        for j, row in enumerate(rows):
            linked = labels[j] != own and (secondary[i, labels[j]] or secondary[j, own])
            if j != i and not linked:
                similarity = float(anchor @ row) / temperature
                denominator += math.exp(similarity)
                if labels[j] == own:
                    weighted.append((0.05, similarity))
        for k, head in enumerate(heads):
            if k == own or not secondary[i, k]:
                similarity = float(anchor @ head) / temperature + math.log(PRIOR[k])
                denominator += math.exp(similarity)
                if k == own:
                    weighted.append((1.0, similarity))
        terms.append(-sum(weight * (similarity - math.log(denominator)) for weight, similarity in weighted))
    return terms


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    temperature=st.floats(0.05, 5.0),
    linked=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**16),
)
def test_loss_equals_the_equation_for_any_labels(
    labels: list[int], temperature: float, linked: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    embeddings, centres = generator.normal(size=(len(labels), 5)), generator.normal(size=(4, 5))
    secondary = generator.random((len(labels), 4)) < linked
    expected = loop_over_equation(embeddings, centres, labels, secondary, temperature)
    batch = ContrastBatch(
        torch.from_numpy(embeddings),
        torch.tensor(labels),
        torch.arange(len(labels)),
        torch.from_numpy(secondary) if linked else None,
    )
    start, log_prior = torch.from_numpy(centres), torch.from_numpy(PRIOR).log()
    mean = ParametricContrastLoss(start, log_prior, temperature)(batch).item()
    assert mean == pytest.approx(sum(expected) / len(expected), rel=1e-9, abs=1e-9)


def test_the_prior_alone_decides_between_equal_centres_by_hand() -> None:
    """One row, equally far from both centres: the loss of a class is minus the log of its share."""
    centres = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    log_prior = torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    loss = ParametricContrastLoss(centres, log_prior, 0.1)
    for label, share in ((0, 0.9), (1, 0.1)):
        batch = ContrastBatch(torch.tensor([[1.0, 0.0]]).double(), torch.tensor([label]), torch.tensor([0]))
        assert loss(batch).item() == pytest.approx(-math.log(share))


def test_a_class_without_a_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"classes \[1\]"):
        ParametricContrastLoss(torch.eye(2), torch.tensor([1.0, 0.0]).log(), 0.1)


def test_only_centres_are_learnt_and_stored() -> None:
    loss = ParametricContrastLoss(torch.eye(2), torch.tensor([0.5, 0.5]).log(), 0.1)
    assert [name for name, _ in loss.named_parameters()] == ["centres"]
    assert list(loss.state_dict()) == ["centres"]
