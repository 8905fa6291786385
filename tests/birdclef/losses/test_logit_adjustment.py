"""Logit-adjusted cross-entropy against a plain loop over equation 10 of Menon et al. 2021, scikit-learn and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from birdclef.losses.logit_adjustment import LogitAdjustedLoss

PRIOR = np.array([0.7, 0.2, 0.1])
LABELS = np.array([0, 2, 1, 1, 0, 2])
LOG_PRIOR = torch.from_numpy(PRIOR).log()


def draw_logits() -> torch.Tensor:
    return 3 * torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@settings(deadline=None, max_examples=50)
@given(tau=st.floats(0, 3), smoothing=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_loss_equals_the_equation_for_any_targets(tau: float, smoothing: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, targets = generator.normal(0, 3, (5, 3)), generator.dirichlet([0.5] * 3, 5)
    terms = []
    for row, target in zip(logits, targets, strict=True):
        exponentials = [math.exp(f + tau * math.log(share)) for f, share in zip(row, PRIOR, strict=True)]
        smooth = [(1 - smoothing) * t + smoothing / 3 for t in target]
        terms.append(-sum(t * math.log(e / sum(exponentials)) for t, e in zip(smooth, exponentials, strict=True)))
    computed = LogitAdjustedLoss(LOG_PRIOR, tau, smoothing)(torch.from_numpy(logits), torch.from_numpy(targets)).item()
    assert computed == pytest.approx(sum(terms) / 5, rel=1e-9)


@settings(deadline=None, max_examples=50)
@given(tau=st.floats(0, 3), smoothing=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_secondary_species_leave_the_softmax_and_the_smoothing(tau: float, smoothing: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, targets = generator.normal(0, 3, (5, 3)), np.eye(3)[generator.integers(0, 3, 5)]
    targets[0] = [0.6, 0.4, 0.0]  # mixup: species 1 is a target of the first sample although it is secondary there
    secondary = generator.random((5, 3)) < 0.4
    secondary[0, 1] = True
    terms = []
    for row, target, marks in zip(logits, targets, secondary, strict=True):
        counted = [k for k in range(3) if target[k] > 0 or not marks[k]]
        exponentials = {k: math.exp(row[k] + tau * math.log(PRIOR[k])) for k in counted}
        smooth = {k: (1 - smoothing) * target[k] + smoothing / len(counted) for k in counted}
        terms.append(-sum(smooth[k] * math.log(exponentials[k] / sum(exponentials.values())) for k in counted))
    given_logits = torch.from_numpy(logits).requires_grad_()
    loss = LogitAdjustedLoss(LOG_PRIOR, tau, smoothing)
    computed = loss(given_logits, torch.from_numpy(targets), torch.from_numpy(secondary))
    assert computed.item() == pytest.approx(sum(terms) / 5, rel=1e-9)
    (gradient,) = torch.autograd.grad(computed, given_logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[torch.from_numpy(secondary & (targets == 0))] == 0).all()


def test_without_secondary_species_a_mask_changes_nothing() -> None:
    logits, targets = draw_logits(), torch.eye(3, dtype=torch.float64)[LABELS]
    loss = LogitAdjustedLoss(LOG_PRIOR, 1.0, 0.1)
    masked = loss(logits, targets, torch.zeros(6, 3, dtype=torch.bool))
    assert masked.item() == pytest.approx(loss(logits, targets).item(), rel=1e-12)


def test_without_adjustment_it_is_scikit_learns_log_loss() -> None:
    logits = draw_logits()
    expected = log_loss(LABELS, softmax(logits.numpy(), axis=1))
    assert LogitAdjustedLoss(LOG_PRIOR, tau=0)(logits, torch.eye(3)[LABELS]).item() == pytest.approx(expected, rel=1e-9)


def test_equal_logits_cost_minus_the_log_of_the_share_by_hand() -> None:
    loss = LogitAdjustedLoss(LOG_PRIOR)
    for label, share in enumerate(PRIOR):
        assert loss(torch.zeros(1, 3), torch.eye(3)[[label]]).item() == pytest.approx(-math.log(share), rel=1e-6)


def test_equal_shares_change_nothing() -> None:
    logits, targets = draw_logits(), torch.eye(3)[LABELS]
    plain, equal = LogitAdjustedLoss(LOG_PRIOR, tau=0), LogitAdjustedLoss(torch.full((3,), math.log(1 / 3)))
    assert equal(logits, targets).item() == pytest.approx(plain(logits, targets).item(), rel=1e-6)


def test_gradient_equals_finite_differences() -> None:
    targets = torch.eye(3, dtype=torch.float64)[LABELS]
    loss = LogitAdjustedLoss(LOG_PRIOR, 1.5, 0.1)
    assert torch.autograd.gradcheck(lambda logits: loss(logits, targets), (draw_logits().requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_logits_are_adjusted_in_float32(dtype: torch.dtype) -> None:
    half = draw_logits().to(dtype)
    loss, targets = LogitAdjustedLoss(LOG_PRIOR), torch.eye(3)[LABELS]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        computed = loss(half, targets)
    assert computed.dtype == torch.float32
    assert computed.item() == pytest.approx(loss(half.double(), targets.double()).item(), rel=1e-6)


def test_a_class_without_a_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"classes \[2\]"):
        LogitAdjustedLoss(torch.tensor([0.5, 0.5, 0.0]).log())


def test_the_prior_is_not_stored() -> None:
    assert list(LogitAdjustedLoss(LOG_PRIOR).state_dict()) == []
