"""Configuration of the objective."""

from typing import Literal

from pydantic import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from cache.config.section import ConfigSection, Probability

ContrastKind = Literal["supcon", "balanced", "prototype", "parametric", "soft"]


class ObjectiveConfig(ConfigSection):
    """What training minimises."""

    kind: Literal["ce", "supcon", "joint"] = "joint"
    """Cross-entropy; supervised contrastive loss and then a linear classifier; or their sum."""
    contrast: ContrastKind = "supcon"
    """Supervised contrastive loss; balanced over classes, with prototypes; against the prototypes of the batch; with
    parametric centres; or with soft labels."""
    temperature: PositiveFloat = 0.1
    """Softmax temperature of the contrastive loss."""
    same_recording_weight: Probability = 0.5
    """Weight, in `supcon` contrast, of positives that are crops of the anchor's own recording; 0 ignores them."""
    contrastive_weight: PositiveFloat = 1.0
    """Weight of the contrastive term in `joint`."""
    contrastive_schedule: Literal["constant", "falling"] = "constant"
    """Whether that weight falls to nothing over the training: features first, then the classifier."""
    label_smoothing: Probability = 0.05
    """Of the cross-entropy only."""
    logit_adjustment: NonNegativeFloat = 0.0
    """Strength of the class prior that is added to the logits in training, 1 aims at the balanced error; 0: off."""
    classifier_epochs: PositiveInt = 10
    """Epochs of the linear classifier on the frozen encoder, after `epochs` of `supcon`."""
    classifier_learning_rate: PositiveFloat = 1e-2
    """Peak learning rate of that classifier."""

    def contrastive_weight_at(self, progress: float) -> float:
        """Returns the weight of the contrastive term when a share of the training's steps, in [0, 1], lies behind.

        It falls as a parabola does, after the curriculum of Wang et al. 2021, https://arxiv.org/abs/2103.14267.
        """
        return self.contrastive_weight * (1 - progress**2 if self.contrastive_schedule == "falling" else 1)
