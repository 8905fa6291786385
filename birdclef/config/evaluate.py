"""Configuration of metrics and report."""

from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
)

from cache.config.section import ConfigSection

EnsembleMethod = Literal["mean", "geometric", "rms", "rank", "fitted"]


class EvaluateConfig(ConfigSection):
    """Metrics and report."""

    ensemble: EnsembleMethod = "mean"
    """How members' probabilities are combined; `fitted` weighs the members by cross-fitting."""
    bootstrap_samples: PositiveInt = 1000
    """Resamples of the groups (recordists) behind each interval."""
    permutations: PositiveInt = 100
    """Shuffles of the predictions behind each chance floor."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals."""
    worst_errors: NonNegativeInt = 8
    """Most confident mistakes shown with spectrograms."""
    clip_megabytes: NonNegativeFloat = 4.0
    """Most that the sounds of the mistakes may add to the report; 0 leaves them out."""
    map_recordings: NonNegativeInt = 2000
    """Most recordings in the map of embeddings; 0 leaves it out."""
    seed: int = 0
    """Seed of bootstrap and permutations."""
