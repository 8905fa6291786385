"""Resamples groups of recordings for intervals, and shuffles recordings for chance floors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics.classification import Floats, Resamples
from birdclef.metrics.predictions import Labels, Predictions

Metric = Callable[[Predictions, Labels, Resamples | None], Floats]

Interval = Callable[[float, Floats], tuple[float, float]]
"""Returns the lower and the upper end of an interval from a value and the values of the resamples, (resamples,)."""


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval and chance floor.

    Attributes:
        value: Metric on all recordings.
        low: Lower end of the interval.
        high: Upper end of the interval.
        chance: Mean of the metric over shuffled recordings.
    """

    value: float
    low: float
    high: float
    chance: float


def resample_groups(groups: NDArray[np.int64], samples: int, generator: np.random.Generator) -> Resamples:
    """Returns how often each recording counts when groups are drawn with replacement.

    Whole groups are drawn, because recordings of a group, such as those by one recordist, are alike.

    Args:
        groups: Index of each recording's group, (recordings,).
        samples: Number of resamples.
        generator: Source of randomness.
    """
    _, dense = np.unique(groups, return_inverse=True)
    count = int(dense.max()) + 1
    draws = generator.multinomial(count, np.full(count, 1 / count), size=samples)  # (samples, groups)
    return Resamples(dense.astype(np.int64), np.ascontiguousarray(draws.T, np.float64))


def estimate(
    metric: Metric,
    predictions: Predictions,
    labels: Labels,
    resamples: Resamples,
    interval: Interval,
    permutations: NDArray[np.int64],
) -> Estimate:
    """Returns a metric with its interval and its chance floor.

    Args:
        metric: A function of `birdclef.metrics.classification`, `birdclef.metrics.ranking` or
            `birdclef.metrics.calibration`.
        predictions: Predictions of all recordings.
        labels: True class of each recording, (recordings,).
        resamples: As `resample_groups` returns them.
        interval: Finds the interval from the value and the resampled values.
        permutations: Shuffled recording indices, (permutations, recordings).
    """
    value = float(metric(predictions, labels, None)[0])
    low, high = interval(value, metric(predictions, labels, resamples))
    # The truth is shuffled, not the predictions: this is as random, and the ranks stay valid.
    chance = np.mean(
        [metric(predictions.with_truth_of(shuffled), labels[shuffled], None)[0] for shuffled in permutations]
    )
    return Estimate(value, low, high, float(chance))
