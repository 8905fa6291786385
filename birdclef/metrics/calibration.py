"""Calibrates probabilities by temperature scaling and measures the result.

The method is that of Guo et al. 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, ndtr, softmax

from birdclef.metrics.classification import Floats, Resamples
from birdclef.metrics.predictions import Labels, Predictions
from birdclef.metrics.secondary_species import IgnoredPairs, leave_out_of_probabilities, of_rows

BINS = 15
"""Number of bins of equal width for confidences, as in Guo et al."""
_SMALLEST = 1e-12
_TEMPERATURES = (0.05, 20.0)
_NEAR_EDGE = 1e-3
"""Relative distance to an end of the search below which a temperature lies at the end; the search ends 1e-4 before."""


@dataclass(frozen=True)
class Reliability:
    """Bins of the reliability diagram.

    Attributes:
        recordings: Number of recordings in each bin, (bins,).
        confidence: Mean probability of the most probable species, (bins,); NaN in an empty bin.
        accuracy: Share of recordings whose most probable species is the true one, (bins,); NaN in an empty bin.
    """

    recordings: Labels
    confidence: Floats
    accuracy: Floats


def expected_calibration_error(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns Σ n_b / n |accuracy_b - confidence_b| over the bins b without its bias, in each resample, (resamples,).

    Chance alone makes accuracy and confidence differ in a bin of few recordings, so the plain sum is too high. A normal
    error with the variance a_b (1 - a_b) / n_b of the accuracy a_b raises a gap on average; each gap is lowered by as
    much. This is the debiased estimator of Kumar et al. 2019, "Verified Uncertainty Calibration",
    https://arxiv.org/abs/1909.10155, with the mean of |normal| in closed form instead of by simulation. A sum below 0
    becomes 0.
    """
    resamples = resamples or Resamples.once(len(labels))
    confidence = predictions.confidence
    groups = len(resamples.counts)
    addresses = _bin_of(confidence) * groups + resamples.groups

    def add_up(values: Floats | None) -> Floats:
        by_group = np.bincount(addresses, values, BINS * groups).reshape(BINS, groups)
        return np.asarray(by_group @ resamples.counts)  # (bins, resamples)

    recordings, correct = add_up(None), add_up((predictions.chosen == labels).astype(np.float64))
    filled = np.maximum(recordings, 1e-300)
    accuracies = correct / filled
    gaps = np.abs(correct - add_up(confidence)) / filled
    deviations = np.sqrt(accuracies * np.maximum(1 - accuracies, 0) / filled)
    debiased = 2 * gaps - _mean_of_absolute(gaps, deviations)
    return np.asarray(np.maximum((recordings * debiased).sum(axis=0) / recordings.sum(axis=0), 0))


def sort_by_confidence(predictions: Predictions, labels: Labels) -> Reliability:
    """Returns the bins of the reliability diagram, which sort recordings by the probability of the chosen species."""
    confidence = predictions.confidence
    bins = _bin_of(confidence)
    recordings = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(bins, confidence, BINS) / recordings
        correct = np.bincount(bins, predictions.chosen == labels, BINS) / recordings
    return Reliability(recordings, mean, correct)


def describe_calibration(
    probabilities: NDArray[np.floating], labels: Labels, ignored: IgnoredPairs | None = None
) -> dict[str, Any]:
    """Returns expected calibration error, negative log-likelihood, and the non-empty bins of the reliability diagram.

    Args:
        probabilities: (recordings, classes).
        labels: True class of each recording, (recordings,).
        ignored: Pairs of recording and secondary species, which do not count; None: all pairs count.
    """
    predictions = Predictions(probabilities, None, ignored)
    reliability = sort_by_confidence(predictions, labels)
    return {
        "expected_calibration_error": float(expected_calibration_error(predictions, labels)[0]),
        "negative_log_likelihood": negative_log_likelihood(probabilities, labels, ignored),
        "bins": [
            {
                "recordings": int(reliability.recordings[index]),
                "confidence": float(reliability.confidence[index]),
                "accuracy": float(reliability.accuracy[index]),
            }
            for index in np.flatnonzero(reliability.recordings)
        ],
    }


def negative_log_likelihood(
    probabilities: NDArray[np.floating], labels: Labels, ignored: IgnoredPairs | None = None
) -> float:
    """Returns the mean of -log p(true species) over the recordings, in nats; p is that among the species that count."""
    if ignored is not None:
        probabilities = leave_out_of_probabilities(probabilities, ignored)
    own = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)
    return float(-np.log(np.maximum(own, _SMALLEST)).mean())


def fit_temperature(probabilities: NDArray[np.floating], labels: Labels, ignored: IgnoredPairs | None = None) -> float:
    """Returns the temperature, 0.05 to 20, for which the calibrated probabilities have the highest likelihood.

    Args:
        probabilities: (recordings, classes).
        labels: True class of each recording, (recordings,).
        ignored: Pairs of recording and secondary species, which leave the softmax; None: all pairs count.
    """
    logits = _logits(probabilities)
    if ignored is not None:
        logits[ignored.nonzero()] = -np.inf
    own = np.take_along_axis(logits, labels[:, np.newaxis], axis=1)

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        partition = np.exp(logits * inverse).sum(axis=1)  # log p <= 0, so exp cannot overflow
        return float((np.log(partition) - own[:, 0] * inverse).mean())

    low, high = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x))


def find_edge(temperature: float) -> Literal["lowest", "highest"] | None:
    """Returns the end of the search at which a fitted temperature lies, so that the best one is beyond; None: inside.

    At the highest one the probabilities hardly tell the species apart; at the lowest one they are nearly always right.
    """
    low, high = _TEMPERATURES
    if temperature <= low * (1 + _NEAR_EDGE):
        return "lowest"
    return "highest" if temperature >= high / (1 + _NEAR_EDGE) else None


def calibrate(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Returns softmax(log p / T), (recordings, classes).

    Args:
        probabilities: (recordings, classes).
        temperature: T; above 1 flattens the probabilities, below 1 sharpens them.
    """
    return np.asarray(softmax(_logits(probabilities) / temperature, axis=1))


def cross_fit_calibration(
    probabilities: NDArray[np.floating],
    labels: Labels,
    folds: NDArray[np.int64],
    ignored: IgnoredPairs | None = None,
) -> tuple[Floats, dict[int, float | None]]:
    """Returns the calibrated probabilities, (recordings, classes), and the temperature of each fold.

    The temperature of a fold is fitted on the other folds.

    Args:
        probabilities: (recordings, classes).
        labels: True class of each recording, (recordings,).
        folds: Fold of each recording, (recordings,). If there is only one fold, nothing can be fitted:
            its temperature is None, and its probabilities stay as they are.
        ignored: Pairs of recording and secondary species, which do not count; None: all pairs count.
    """
    calibrated = probabilities.astype(np.float64)
    temperatures: dict[int, float | None] = {}
    for fold in np.unique(folds).tolist():
        own = folds == fold
        if own.all():
            return calibrated, {fold: None}
        fitted = fit_temperature(probabilities[~own], labels[~own], of_rows(ignored, ~own))
        temperatures[fold] = fitted
        calibrated[own] = calibrate(probabilities[own], fitted)
    return calibrated, temperatures


def _logits(probabilities: NDArray[np.floating]) -> Floats:
    return np.asarray(log_softmax(np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST)), axis=1))


def _bin_of(confidence: Floats) -> Labels:
    """Returns the bin of each confidence; a confidence on the edge of two bins belongs to the lower one."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _mean_of_absolute(means: Floats, deviations: Floats) -> Floats:
    """Returns the mean of |Z| for normal Z with these means and deviations (the folded normal distribution)."""
    ratios = means / np.maximum(deviations, 1e-300)
    spread = deviations * np.sqrt(2 / np.pi) * np.exp(-(np.minimum(ratios, 40.0) ** 2) / 2)
    return np.asarray(spread + means * (1 - 2 * ndtr(-ratios)))
