"""Configuration of the metrics and the report."""

from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
)

from cache.config.section import ConfigSection, Seed

EnsembleMethod = Literal["mean", "geometric", "rms", "rank", "fitted"]


class EvaluateConfig(ConfigSection):
    """Settings of the metrics and the report."""

    ensemble: EnsembleMethod = "mean"
    """Method that combines the members' probabilities. `fitted` learns a weight for each member by cross-fitting."""
    bootstrap_samples: PositiveInt = 1000
    """Number of resamples for each interval; what `split.group_by` keeps together is drawn together."""
    permutations: PositiveInt = 100
    """Number of random shuffles of the predictions for each score at chance level."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the confidence intervals."""
    worst_errors: NonNegativeInt = 8
    """Number of the most confident mistakes that the report shows with a spectrogram."""
    clip_megabytes: NonNegativeFloat = 4.0
    """Largest size that the sounds of the mistakes add to the report, MB; 0 leaves the sounds out."""
    map_recordings: NonNegativeInt = 2000
    """Largest number of recordings in the map of embeddings; 0 leaves the map out."""
    seed: Seed = 0
    """Seed of the resamples and the shuffles."""
