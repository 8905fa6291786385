"""Intervals by resampling groups of recordings, and chance floors by permuting predictions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics.classification import Floats, Resamples
from birdclef.metrics.predictions import Labels, Predictions

Metric = Callable[[Predictions, Labels, Resamples | None], Floats]


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval and chance floor.

    Attributes:
        value: On the whole set.
        low: Lower end of the interval.
        high: Upper end of the interval.
        chance: Mean over permuted predictions.
    """

    value: float
    low: float
    high: float
    chance: float


def resample_groups(groups: NDArray[np.int64], samples: int, generator: np.random.Generator) -> Resamples:
    """Returns how often each recording counts when its groups are drawn with replacement.

    Recordings by one recordist are alike, so whole groups are drawn.

    Args:
        groups: Index of each recording's group, (recordings,).
        samples: Number of resamples.
        generator: Source of randomness.
    """
    _, dense = np.unique(groups, return_inverse=True)
    count = int(dense.max()) + 1
    draws = generator.multinomial(count, np.full(count, 1 / count), size=samples)  # (samples, groups)
    return Resamples(dense.astype(np.int64), np.ascontiguousarray(draws.T, np.float64))


def percentile_interval(values: Floats, confidence: float) -> tuple[float, float]:
    """Returns the central interval that holds `confidence` of the values; undefined ones are left out."""
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def estimate(
    metric: Metric,
    predictions: Predictions,
    labels: Labels,
    resamples: Resamples,
    confidence: float,
    permutations: NDArray[np.int64],
) -> Estimate:
    """Returns a metric with interval and chance floor.

    Args:
        metric: Of `birdclef.metrics.classification` or `birdclef.metrics.ranking`.
        predictions: Of (recordings, classes).
        labels: True class, (recordings,).
        resamples: Of `resample_groups`.
        confidence: Coverage of the interval.
        permutations: Shuffled recording indices, (permutations, recordings).
    """
    value = float(metric(predictions, labels, None)[0])
    low, high = percentile_interval(metric(predictions, labels, resamples), confidence)
    # Shuffled truth beside the same predictions is as good as the reverse, and keeps their ranks.
    chance = np.mean([metric(predictions, labels[shuffled], None)[0] for shuffled in permutations])
    return Estimate(value, low, high, float(chance))
