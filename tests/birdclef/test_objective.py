"""What a step minimises: cross-entropy by scikit-learn and by hand, and the terms of each objective."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss as SupConLossWithoutRecordings
from scipy.special import softmax
from sklearn.metrics import log_loss

from birdclef.config import ObjectiveConfig
from birdclef.contrast import ContrastBatch
from birdclef.data import Views
from birdclef.model import Heads
from birdclef.objective import compute_losses, count_epochs, cross_entropy
from birdclef.supcon import SupConLoss

LABELS = torch.tensor([0, 2, 1, 1, 0, 2])


def draw_heads() -> Heads:
    generator = torch.Generator().manual_seed(0)
    return Heads(torch.randn(6, 5, generator=generator), 3 * torch.randn(6, 3, generator=generator))


def build_views() -> Views:
    targets = torch.eye(3)[LABELS]
    return Views(torch.zeros(6, 1, 2, 2), LABELS, targets, torch.arange(6))


def compute_supcon(heads: Heads, temperature: float) -> float:
    batch = ContrastBatch(heads.embeddings, LABELS, torch.arange(6))
    loss: torch.Tensor = SupConLoss(temperature, same_recording_weight=1.0)(batch)
    return loss.item()


def test_cross_entropy_equals_scikit_learns_log_loss() -> None:
    logits = draw_heads().logits
    expected = log_loss(LABELS.numpy(), softmax(logits.double().numpy(), axis=1))
    assert cross_entropy(logits, torch.eye(3)[LABELS], 0.0).item() == pytest.approx(expected, rel=1e-6)


def test_soft_targets_weigh_the_log_probabilities() -> None:
    """Probabilities 1/2, 1/4, 1/4 against targets 0.7, 0.3, 0: 0.7 log 2 + 0.3 log 4 = 1.3 log 2."""
    logits = torch.tensor([[math.log(2), 0.0, 0.0]])
    loss = cross_entropy(logits, torch.tensor([[0.7, 0.3, 0.0]]), 0.0)
    assert loss.item() == pytest.approx(1.3 * math.log(2), rel=1e-6)


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    """Smoothing 0.3 makes one of three targets 0.8 and the others 0.1: 0.8 log 2 + 0.2 log 4 = 1.2 log 2."""
    logits = torch.tensor([[math.log(2), 0.0, 0.0]])
    loss = cross_entropy(logits, torch.tensor([[1.0, 0.0, 0.0]]), 0.3)
    assert loss.item() == pytest.approx(1.2 * math.log(2), rel=1e-6)


def test_cross_entropy_of_half_precision_logits_is_float32() -> None:
    logits = draw_heads().logits.bfloat16()
    loss = cross_entropy(logits, torch.eye(3)[LABELS], 0.0)
    assert loss.dtype == torch.float32
    expected = log_loss(LABELS.numpy(), softmax(logits.double().numpy(), axis=1))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_ce_is_the_cross_entropy_alone() -> None:
    heads = draw_heads()
    losses = compute_losses(heads, build_views(), ObjectiveConfig(kind="ce", label_smoothing=0.0), classifying=False)
    assert set(losses) == {"cross_entropy", "loss"}
    expected = log_loss(LABELS.numpy(), softmax(heads.logits.double().numpy(), axis=1))
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weight", [0.25, 1.0, 3.0])
def test_joint_is_the_cross_entropy_and_the_weighted_contrastive_loss(weight: float) -> None:
    heads, views = draw_heads(), build_views()
    objective = ObjectiveConfig(kind="joint", contrastive_weight=weight, temperature=0.2, label_smoothing=0.0)
    losses = compute_losses(heads, views, objective, classifying=False)
    contrastive = compute_supcon(heads, 0.2)
    expected = log_loss(LABELS.numpy(), softmax(heads.logits.double().numpy(), axis=1))
    assert set(losses) == {"supcon", "cross_entropy", "loss"}
    assert losses["supcon"].item() == pytest.approx(contrastive, rel=1e-6)
    assert losses["loss"].item() == pytest.approx(expected + weight * contrastive, rel=1e-6)


def test_supcon_is_the_contrastive_loss_alone_at_its_temperature() -> None:
    heads = draw_heads()
    objective = ObjectiveConfig(kind="supcon", temperature=0.07, contrastive_weight=5.0)
    losses = compute_losses(heads, build_views(), objective, classifying=False)
    assert set(losses) == {"supcon", "loss"}
    assert losses["loss"].item() == pytest.approx(compute_supcon(heads, 0.07), rel=1e-6)


def test_views_of_one_recording_are_full_positives() -> None:
    """As pytorch-metric-learning has it, which knows no recordings."""
    heads, labels = draw_heads(), torch.tensor([0, 0, 0, 0, 1, 1])
    views = Views(torch.zeros(6, 1, 2, 2), labels, torch.eye(3)[labels], torch.tensor([0, 0, 1, 1, 2, 2]))
    objective = ObjectiveConfig(kind="supcon", temperature=0.2)
    loss = compute_losses(heads, views, objective, classifying=False)["loss"]
    expected = SupConLossWithoutRecordings(0.2)(heads.embeddings, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_supcon_trains_its_classifier_on_the_cross_entropy_alone() -> None:
    heads = draw_heads()
    objective = ObjectiveConfig(kind="supcon", label_smoothing=0.0)
    losses = compute_losses(heads, build_views(), objective, classifying=True)
    assert set(losses) == {"cross_entropy", "loss"}
    expected = log_loss(LABELS.numpy(), softmax(heads.logits.double().numpy(), axis=1))
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_of_the_objective_reaches_the_cross_entropy() -> None:
    heads = draw_heads()
    probabilities = softmax(heads.logits.double().numpy(), axis=1)
    targets = 0.8 * np.eye(3)[LABELS.numpy()] + 0.2 / 3
    losses = compute_losses(heads, build_views(), ObjectiveConfig(kind="ce", label_smoothing=0.2), classifying=False)
    expected = -(targets * np.log(probabilities)).sum(axis=1).mean()
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("kind", "expected"), [("ce", 30), ("joint", 30), ("supcon", 37)])
def test_only_supcon_adds_epochs_for_its_classifier(kind: Literal["ce", "supcon", "joint"], expected: int) -> None:
    assert count_epochs(30, ObjectiveConfig(kind=kind, classifier_epochs=7)) == expected
