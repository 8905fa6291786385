"""The loss of a training step: cross-entropy, a contrastive loss, or both."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from birdclef.config.objective import ContrastKind, ObjectiveConfig
from birdclef.losses.balanced_contrast import BalancedContrastLoss
from birdclef.losses.contrast import ContrastBatch, draw_prototypes
from birdclef.losses.logit_adjustment import LogitAdjustedLoss
from birdclef.losses.parametric_contrast import ParametricContrastLoss
from birdclef.losses.prototype_contrast import PrototypeContrastLoss
from birdclef.losses.soft_contrast import SoftContrastLoss
from birdclef.losses.supcon import SupConLoss
from birdclef.model.network import Heads
from birdclef.training.data import Views


class Objective(nn.Module):
    """The objective of training. Learnt prototypes and centres of its losses are its parameters.

    Args:
        config: Kind of the objective, and weight of the contrastive loss.
        contrast: Contrastive loss of the embeddings.
        cross_entropy: Cross-entropy of the logits.
    """

    def __init__(self, config: ObjectiveConfig, contrast: nn.Module, cross_entropy: LogitAdjustedLoss) -> None:
        super().__init__()
        self._config = config
        self.contrast = contrast if config.kind != "ce" else None
        self.cross_entropy = cross_entropy

    def forward(self, heads: Heads, views: Views, *, classifying: bool, progress: float = 0.0) -> dict[str, Tensor]:
        """Returns the terms by name, scalars in nats; training minimises `loss`.

        Args:
            heads: Embeddings and logits of the views.
            views: Labels, targets and recordings of the views.
            classifying: Whether the linear classifier of `supcon` is trained on the frozen encoder.
            progress: Share of the training's steps that are done, in [0, 1].
        """
        losses = {}
        if self.contrast is not None and not classifying:
            batch = ContrastBatch(heads.embeddings, views.labels, views.recordings, views.secondary, views.targets)
            losses["contrast"] = self.contrast(batch)
        if self._config.kind != "supcon" or classifying:
            losses["cross_entropy"] = self.cross_entropy(heads.logits, views.targets, views.secondary)
        if len(losses) == 2:
            total = losses["cross_entropy"] + self._config.contrastive_weight_at(progress) * losses["contrast"]
        else:
            total = next(iter(losses.values()))
        return {**losses, "loss": total}


def build_objective(config: ObjectiveConfig, shares: Tensor, dim: int, generator: torch.Generator) -> Objective:
    """Returns an objective whose prototypes or centres have random initial values.

    Args:
        config: Settings of the objective.
        shares: Share of each class among the rows that training draws, (classes,).
        dim: Width of the embeddings.
        generator: Source of randomness for prototypes and centres.
    """
    log_prior = shares.log()

    def directions() -> Tensor:
        return draw_prototypes(len(shares), dim, generator)

    temperature = config.temperature
    build: dict[ContrastKind, Callable[[], nn.Module]] = {
        "supcon": lambda: SupConLoss(temperature, config.same_recording_weight, config.reduction),
        "balanced": lambda: BalancedContrastLoss(directions(), temperature),
        "prototype": lambda: PrototypeContrastLoss(len(shares), temperature),
        "parametric": lambda: ParametricContrastLoss(directions(), log_prior, temperature),
        "soft": lambda: SoftContrastLoss(temperature),
    }
    cross_entropy = LogitAdjustedLoss(log_prior, config.logit_adjustment, config.label_smoothing)
    return Objective(config, build[config.contrast](), cross_entropy)


def count_epochs(epochs: int, objective: ObjectiveConfig) -> int:
    """Returns the number of epochs in all phases."""
    return epochs + (objective.classifier_epochs if objective.kind == "supcon" else 0)
