"""Confidence intervals from the distance of resamples from the value, with Student's t.

Percentiles of the resamples lie too low: a resample has fewer species than the data and repeats recordings, so macro-F1
of resamples is lower than macro-F1 of new data sets. These intervals lie around the value. Their width is the root mean
square distance of the resamples from the value, not from their own mean: where resamples lie off the value, the metric
depends on how many species and recordings there are, and their spread alone is too small. `python -m benchmarks
intervals` measures the coverage of these and other intervals.
"""

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, t

from birdclef.metrics.classification import Floats

_NORMAL_DRAWS = 100_000


def score_interval(value: float, resampled: Floats, confidence: float, freedom: float) -> tuple[float, float]:
    """Returns the interval of a score from 0 to 1, symmetric on the scale of the logit.

    It holds the value and never leaves the range. Near 0 and 1 it reaches further to the middle, as it should: a score
    of 0.97 has more room below than above. If everything is right, or nothing is, no resample differs from the value.
    Then the interval is that of Clopper and Pearson 1934 for the number of groups.

    Args:
        value: Metric on all recordings; NaN, as of a metric that these recordings do not define, has the interval NaN.
        resampled: Metric on each resample, (resamples,); NaN values are left out.
        confidence: Coverage of the interval, 0 to 1.
        freedom: Degrees of freedom of the distance: one less than groups. Below 1 the interval is the whole range.
    """
    half = _half_width(value, resampled, confidence, freedom)
    if np.isnan(value):
        return np.nan, np.nan
    if half == np.inf:
        return 0.0, 1.0
    if value <= 0:
        return 0.0, _largest_unseen_share(confidence, freedom)
    if value >= 1:
        return 1 - _largest_unseen_share(confidence, freedom), 1.0
    scaled = half / (value * (1 - value))
    return float(expit(logit(value) - scaled)), float(expit(logit(value) + scaled))


def plain_interval(
    value: float, resampled: Floats, confidence: float, freedom: float, limits: tuple[float, float]
) -> tuple[float, float]:
    """Returns value ± t distances, clipped to the limits; the other arguments are those of `score_interval`.

    If no resample differs from the value, as where two models make the same errors, all groups are alike. Another group
    may differ all the same: the half width is then the largest share of such groups that Clopper and Pearson's interval
    allows.

    Args:
        value: Metric, or difference of metrics, on all recordings.
        resampled: The same on each resample.
        confidence: Coverage.
        freedom: Degrees of freedom.
        limits: Lowest and highest possible value.
    """
    half = _half_width(value, resampled, confidence, freedom) or _largest_unseen_share(confidence, freedom)
    if np.isnan(value):
        return np.nan, np.nan
    return max(limits[0], value - half), min(limits[1], value + half)


def joint_confidence(resampled: Floats, confidence: float, generator: np.random.Generator) -> float:
    """Returns the coverage of single intervals for which all intervals hold their values together.

    The largest of normal deviations with the correlations of the resamples decides, so intervals that move together
    cost less than by Bonferroni's rule: Hothorn, Bretz and Westfall 2008, "Simultaneous Inference in General Parametric
    Models", section 4.

    Args:
        resampled: Each quantity on each resample, (quantities, resamples). Resamples with a NaN are left out.
        confidence: Coverage of all intervals together, 0 to 1.
        generator: Source of randomness.
    """
    defined = resampled[:, ~np.isnan(resampled).any(axis=0)]
    if defined.shape[1] < 2:
        return 1 - (1 - confidence) / len(resampled)
    varying = defined[defined.std(axis=1) > 0]
    if len(varying) < 2:
        return confidence
    none = np.zeros(len(varying))
    draws = generator.multivariate_normal(none, np.corrcoef(varying), _NORMAL_DRAWS, check_valid="ignore")
    largest = np.abs(draws).max(axis=1)
    together = 2 * norm.cdf(np.quantile(largest, confidence)) - 1
    return float(np.clip(together, confidence, 1 - (1 - confidence) / len(varying)))


def mean_square_distance(value: float, resampled: Floats) -> float:
    """Returns the mean square of the distances of resamples from a value; NaN values are left out.

    Args:
        value: Metric on all recordings.
        resampled: Metric on each resample, (resamples,).
    """
    defined = resampled[~np.isnan(resampled)]
    return float(((defined - value) ** 2).mean()) if len(defined) else np.inf


def _largest_unseen_share(confidence: float, freedom: float) -> float:
    """Returns the upper end of Clopper and Pearson's interval for the share of an event that no group had."""
    return float(1 - ((1 - confidence) / 2) ** (1 / (freedom + 1)))


def _half_width(value: float, resampled: Floats, confidence: float, freedom: float) -> float:
    if freedom < 1:
        return np.inf
    return float(t.ppf((1 + confidence) / 2, freedom) * np.sqrt(mean_square_distance(value, resampled)))
