"""Configuration of the metrics and the report."""

from typing import Literal

from pydantic import Field

from cache.config.section import ConfigSection, Count, CountFromZero, Seed

EnsembleMethod = Literal["mean", "geometric", "rms", "rank", "fitted"]


class EvaluateConfig(ConfigSection):
    """Settings of the metrics and the report."""

    ensemble: EnsembleMethod = "mean"
    """Method that combines the members' probabilities. `fitted` learns a weight for each member by cross-fitting."""
    bootstrap_samples: Count = 1000
    """Number of resamples for each interval; what `split.group_by` keeps together is drawn together."""
    permutations: Count = 100
    """Number of random shuffles of the predictions for each score at chance level."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the confidence intervals."""
    worst_errors: CountFromZero = 8
    """Number of the most confident mistakes that the report shows with a spectrogram."""
    clip_megabytes: float = Field(default=4.0, ge=0, le=1000)
    """Largest size that the sounds of the mistakes add to the report, MB; 0 leaves the sounds out."""
    map_recordings: CountFromZero = 2000
    """Largest number of recordings in the map of embeddings; 0 leaves the map out."""
    seed: Seed = 0
    """Seed of the resamples and the shuffles."""
