"""What a training step minimises, put together from cross-entropy and contrastive loss."""

import torch.nn.functional as F
from torch import Tensor

from birdclef.config import ObjectiveConfig
from birdclef.contrast import ContrastBatch
from birdclef.data import Views
from birdclef.model import Heads
from birdclef.supcon import SupConLoss


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Returns the mean cross-entropy in nats of logits against class probabilities, both (batch, classes)."""
    return F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing)


def compute_losses(heads: Heads, views: Views, objective: ObjectiveConfig, *, classifying: bool) -> dict[str, Tensor]:
    """Returns the terms of the objective by name, `loss` being what is minimised.

    Args:
        heads: Embeddings and logits of the views.
        views: Labels, recordings and targets.
        objective: Kind, weight, temperature and label smoothing.
        classifying: Whether the linear classifier of `supcon` is being trained on the frozen encoder.
    """
    losses = {}
    if objective.kind != "ce" and not classifying:
        supcon = SupConLoss(objective.temperature, same_recording_weight=1.0)
        losses["supcon"] = supcon(ContrastBatch(heads.embeddings, views.labels, views.recordings))
    if objective.kind != "supcon" or classifying:
        losses["cross_entropy"] = cross_entropy(heads.logits, views.targets, objective.label_smoothing)
    if len(losses) == 2:
        total = losses["cross_entropy"] + objective.contrastive_weight * losses["supcon"]
    else:
        total = next(iter(losses.values()))
    return {**losses, "loss": total}


def count_epochs(epochs: int, objective: ObjectiveConfig) -> int:
    """Returns the epochs of all phases together."""
    return epochs + (objective.classifier_epochs if objective.kind == "supcon" else 0)
