"""Configuration of the training objective."""

from typing import Literal

from cache.config.section import Amount, AmountFromZero, ConfigSection, Count, Probability

ContrastKind = Literal["supcon", "balanced", "prototype", "parametric", "soft"]


class ObjectiveConfig(ConfigSection):
    """Settings of the loss that training minimises."""

    kind: Literal["ce", "supcon", "joint"] = "joint"
    """`ce` is cross-entropy. `supcon` trains the encoder with the contrastive loss, and then a linear classifier on the
    frozen encoder. `joint` is the sum of both losses."""
    contrast: ContrastKind = "supcon"
    """Contrastive loss: `supcon` compares crops of a batch, `balanced` gives every class the same weight, `prototype`
    compares crops with the class means of the batch, `parametric` adds learnt class centres, `soft` reads soft
    labels."""
    temperature: Amount = 0.1
    """Softmax temperature of the contrastive loss."""
    same_recording_weight: Probability = 0.5
    """Weight of positives that are crops of the anchor's own recording; 0 ignores them. Only `contrast=supcon` reads
    this."""
    reduction: Literal["mean", "sum"] = "mean"
    """`mean` averages the contrastive loss over the anchors, so that it does not depend on the size of the batch. `sum`
    adds it up, as the original recipe writes it. AdamW does not see the factor between them, but `clip_norm` does. Only
    `contrast=supcon` reads this."""
    contrastive_weight: Amount = 1.0
    """Weight of the contrastive loss in `kind=joint`."""
    contrastive_schedule: Literal["constant", "falling"] = "constant"
    """`falling` lowers `contrastive_weight` to 0 during training, so that the features are learnt before the
    classifier; `constant` keeps it."""
    label_smoothing: Probability = 0.05
    """Label smoothing of the cross-entropy. The contrastive loss does not use it."""
    logit_adjustment: AmountFromZero = 0.0
    """Strength of the class prior that is added to the logits in training. 1 minimises the balanced error; 0 switches
    the adjustment off."""
    classifier_epochs: Count = 10
    """With `kind=supcon`: epochs of the linear classifier, after `epochs` of the encoder."""
    classifier_learning_rate: Amount = 1e-2
    """With `kind=supcon`: peak learning rate of the linear classifier."""

    def contrastive_weight_at(self, progress: float) -> float:
        """Returns the weight of the contrastive loss at a point of the training.

        A falling weight follows the parabola of Wang et al. 2021, https://arxiv.org/abs/2103.14267.

        Args:
            progress: Share of the training's steps that are done, in [0, 1].
        """
        return self.contrastive_weight * (1 - progress**2 if self.contrastive_schedule == "falling" else 1)
