"""Configuration of the model."""

from typing import Literal

from pydantic import (
    NonNegativeInt,
    PositiveInt,
)

from cache.config.section import ConfigSection, Probability

Normalisation = Literal["dataset", "channel", "band_median"]

POOLS = ("mean_pool", "attention_pool")
"""What `model.backbone` may be for embeddings."""


class ModelConfig(ConfigSection):
    """Backbone and heads."""

    backbone: str = "tf_efficientnet_b0"
    """Any timm model name; for embeddings `mean_pool` or `attention_pool` over the windows of a crop."""
    pool_hidden: PositiveInt = 512
    """Width of the hidden layer behind such a pool."""
    weights: str = "none"
    """`none` trains from scratch, `hub` fetches timm's pretrained weights, anything else is a local weight file."""
    normalisation: Normalisation = "band_median"
    """Input is standardised over the data set, all together or each channel for itself; or each band is taken relative
    to its median over the crop, which removes the microphone's colour and steady background."""
    frozen_stages: NonNegativeInt = 0
    """Leading stages that stay frozen, batch norm included; the stem is the first."""
    dropout: Probability = 0.0
    """Dropout before the classifier, and before a pool's hidden layer."""
    drop_path: Probability = 0.0
    """Stochastic depth in the backbone."""
    projection_hidden: PositiveInt = 512
    """Hidden width of the projection head."""
    projection_dim: PositiveInt = 128
    """Width of the embedding that the contrastive loss sees."""
    classifier_on: Literal["features", "embedding"] = "features"
    """What the linear classifier reads: pooled backbone features, or the embedding (the original recipe)."""
