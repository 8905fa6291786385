"""Configuration of the model."""

from typing import Literal, Self

from pydantic import model_validator

from cache.config.section import ConfigSection, CountFromZero, Probability, Width

Normalisation = Literal["dataset", "channel", "band_median"]

POOLS = ("mean_pool", "attention_pool")
"""Values of `model.backbone` that read embeddings."""


class ModelConfig(ConfigSection):
    """Settings of the backbone and the heads."""

    backbone: str = "tf_efficientnet_b0"
    """For log-mel: the name of a timm model. For embeddings: `mean_pool` or `attention_pool`, which average the
    segments of a crop (the embedding model's windows)."""
    pool_hidden: Width = 512
    """Width of the hidden layer after `mean_pool` or `attention_pool`."""
    weights: str = "none"
    """`none` trains from scratch, `hub` downloads timm's pretrained weights. Any other value is the path of a local
    weight file."""
    normalisation: Normalisation = "band_median"
    """`dataset` standardises all values with one mean and deviation, `channel` standardises each channel with its own.
    `band_median` subtracts each band's median over the crop, which removes steady background and the microphone's
    frequency response."""
    frozen_stages: CountFromZero = 0
    """Number of leading stages that do not learn, including their batch norm. The stem is the first stage."""
    frozen_batch_norm: bool = False
    """Whether batch norm keeps the statistics of pretrained weights; its scale and offset learn. Then the gradient is
    that of the whole batch, whatever `micro_batch` is. Otherwise batch norm normalises over one micro-batch."""
    dropout: Probability = 0.0
    """Dropout before the classifier, and before the hidden layer of a pool."""
    drop_path: Probability = 0.0
    """Rate of stochastic depth in the backbone."""
    projection_hidden: Width = 512
    """Width of the hidden layer of the projection head."""
    projection_dim: Width = 128
    """Width of the embedding that the contrastive loss compares."""
    classifier_on: Literal["features", "embedding"] = "features"
    """Input of the linear classifier: the pooled backbone features, or the embedding as in the original recipe."""

    @model_validator(mode="after")
    def _check_batch_norm(self) -> Self:
        if self.frozen_batch_norm and self.weights == "none":
            raise ValueError(
                "frozen_batch_norm=true keeps statistics that weights=none does not have: set "
                "frozen_batch_norm=false, or weights=hub"
            )
        return self
