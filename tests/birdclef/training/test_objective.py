"""What a step minimises: cross-entropy by scikit-learn and by hand, and the terms of each objective."""

from typing import Literal

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss as SupConLossWithoutRecordings
from scipy.special import softmax
from sklearn.metrics import log_loss

from birdclef.config.objective import ContrastKind, ObjectiveConfig
from birdclef.losses.contrast import ContrastBatch
from birdclef.losses.supcon import SupConLoss
from birdclef.model.network import Heads
from birdclef.training.data import Views
from birdclef.training.objective import build_objective, count_epochs

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


def compute(
    heads: Heads, views: Views, config: ObjectiveConfig, *, classifying: bool = False
) -> dict[str, torch.Tensor]:
    shares = torch.full((3,), 1 / 3)
    losses: dict[str, torch.Tensor] = build_objective(config, shares, 5, torch.Generator())(
        heads, views, classifying=classifying
    )
    return losses


def test_ce_is_the_cross_entropy_alone() -> None:
    heads = draw_heads()
    losses = compute(heads, build_views(), ObjectiveConfig(kind="ce", label_smoothing=0.0))
    assert set(losses) == {"cross_entropy", "loss"}
    expected = log_loss(LABELS.numpy(), softmax(heads.logits.double().numpy(), axis=1))
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weight", [0.25, 1.0, 3.0])
def test_joint_is_the_cross_entropy_and_the_weighted_contrastive_loss(weight: float) -> None:
    heads, views = draw_heads(), build_views()
    objective = ObjectiveConfig(kind="joint", contrastive_weight=weight, temperature=0.2, label_smoothing=0.0)
    losses = compute(heads, views, objective)
    contrastive = compute_supcon(heads, 0.2)
    expected = log_loss(LABELS.numpy(), softmax(heads.logits.double().numpy(), axis=1))
    assert set(losses) == {"contrast", "cross_entropy", "loss"}
    assert losses["contrast"].item() == pytest.approx(contrastive, rel=1e-6)
    assert losses["loss"].item() == pytest.approx(expected + weight * contrastive, rel=1e-6)


def test_supcon_is_the_contrastive_loss_alone_at_its_temperature() -> None:
    heads = draw_heads()
    objective = ObjectiveConfig(kind="supcon", temperature=0.07, contrastive_weight=5.0)
    losses = compute(heads, build_views(), objective)
    assert set(losses) == {"contrast", "loss"}
    assert losses["loss"].item() == pytest.approx(compute_supcon(heads, 0.07), rel=1e-6)


def test_views_of_one_recording_are_full_positives() -> None:
    """As pytorch-metric-learning has it, which knows no recordings."""
    heads, labels = draw_heads(), torch.tensor([0, 0, 0, 0, 1, 1])
    views = Views(torch.zeros(6, 1, 2, 2), labels, torch.eye(3)[labels], torch.tensor([0, 0, 1, 1, 2, 2]))
    objective = ObjectiveConfig(kind="supcon", temperature=0.2, same_recording_weight=1.0)
    loss = compute(heads, views, objective)["loss"]
    expected = SupConLossWithoutRecordings(0.2)(heads.embeddings, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_supcon_trains_its_classifier_on_the_cross_entropy_alone() -> None:
    heads = draw_heads()
    objective = ObjectiveConfig(kind="supcon", label_smoothing=0.0)
    losses = compute(heads, build_views(), objective, classifying=True)
    assert set(losses) == {"cross_entropy", "loss"}
    expected = log_loss(LABELS.numpy(), softmax(heads.logits.double().numpy(), axis=1))
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_of_the_objective_reaches_the_cross_entropy() -> None:
    heads = draw_heads()
    probabilities = softmax(heads.logits.double().numpy(), axis=1)
    targets = 0.8 * np.eye(3)[LABELS.numpy()] + 0.2 / 3
    losses = compute(heads, build_views(), ObjectiveConfig(kind="ce", label_smoothing=0.2))
    expected = -(targets * np.log(probabilities)).sum(axis=1).mean()
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("kind", "expected"), [("ce", 30), ("joint", 30), ("supcon", 37)])
def test_only_supcon_adds_epochs_for_its_classifier(kind: Literal["ce", "supcon", "joint"], expected: int) -> None:
    assert count_epochs(30, ObjectiveConfig(kind=kind, classifier_epochs=7)) == expected


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 2.0), (0.5, 1.5), (0.9, 0.38), (1.0, 0.0)])
def test_a_falling_weight_leaves_the_contrast_as_a_parabola_does(progress: float, expected: float) -> None:
    """2 (1 - t²) by hand."""
    config = ObjectiveConfig(kind="joint", contrastive_weight=2.0, contrastive_schedule="falling")
    objective = build_objective(config, torch.full((3,), 1 / 3), 5, torch.Generator())
    losses = objective(draw_heads(), build_views(), classifying=False, progress=progress)
    share = (losses["loss"] - losses["cross_entropy"]) / losses["contrast"]
    assert share.item() == pytest.approx(expected, abs=1e-5)
    assert config.model_copy(update={"contrastive_schedule": "constant"}).contrastive_weight_at(progress) == 2.0


def test_logit_adjustment_adds_the_class_prior_in_training() -> None:
    heads, shares = draw_heads(), torch.tensor([0.7, 0.2, 0.1])
    config = ObjectiveConfig(kind="ce", label_smoothing=0.0, logit_adjustment=1.0)
    loss = build_objective(config, shares, 5, torch.Generator())(heads, build_views(), classifying=False)["loss"]
    adjusted = heads.logits.double().numpy() + np.log(shares.double().numpy())
    assert loss.item() == pytest.approx(log_loss(LABELS.numpy(), softmax(adjusted, axis=1)), rel=1e-6)


@pytest.mark.parametrize(
    ("contrast", "learnt"), [("supcon", 0), ("balanced", 15), ("prototype", 0), ("parametric", 15), ("soft", 0)]
)
def test_every_contrast_trains_what_it_learns_itself(contrast: ContrastKind, learnt: int) -> None:
    config = ObjectiveConfig(kind="joint", contrast=contrast)
    objective = build_objective(config, torch.full((3,), 1 / 3), 5, torch.Generator().manual_seed(1))
    heads = draw_heads()
    heads.embeddings.requires_grad_(True)
    losses = objective(heads, build_views(), classifying=False)
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    assert heads.embeddings.grad is not None
    assert heads.embeddings.grad.abs().sum() > 0
    parameters = list(objective.parameters())
    assert sum(parameter.numel() for parameter in parameters) == learnt  # three classes, five dimensions
    assert all(parameter.grad is not None for parameter in parameters)


def test_cross_entropy_alone_learns_nothing_besides_the_model() -> None:
    config = ObjectiveConfig(kind="ce", contrast="balanced")
    assert not list(build_objective(config, torch.full((3,), 1 / 3), 5, torch.Generator()).parameters())


def test_secondary_labels_reach_the_contrast() -> None:
    heads, secondary = draw_heads(), torch.zeros(6, 3, dtype=torch.bool)
    secondary[0, 2] = True  # species 2 sings in the recording of the first row
    config = ObjectiveConfig(kind="supcon", temperature=0.5)
    views = Views(torch.zeros(6, 1, 2, 2), LABELS, torch.eye(3)[LABELS], torch.arange(6), secondary)
    batch = ContrastBatch(heads.embeddings, LABELS, torch.arange(6), secondary)
    expected = SupConLoss(0.5)(batch).item()
    assert compute(heads, views, config)["loss"].item() == pytest.approx(expected, rel=1e-6)
    assert compute(heads, build_views(), config)["loss"].item() != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", ["ce", "joint"])
def test_secondary_labels_reach_the_cross_entropy(kind: str) -> None:
    heads, secondary = draw_heads(), torch.zeros(6, 3, dtype=torch.bool)
    secondary[0, (LABELS[0] + 1) % 3] = True
    views = Views(torch.zeros(6, 1, 2, 2), LABELS, torch.eye(3)[LABELS], torch.arange(6), secondary)
    terms = compute(heads, views, ObjectiveConfig(kind=kind, label_smoothing=0.0))
    left = [[k for k in range(3) if not secondary[row, k]] for row in range(6)]
    each = [heads.logits[row, left[row]].logsumexp(0) - heads.logits[row, LABELS[row]] for row in range(6)]
    assert terms["cross_entropy"].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)
