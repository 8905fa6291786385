"""Calibration: temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks") and its measures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from birdclef.metrics.classification import Floats, Resamples
from birdclef.metrics.predictions import Labels, Predictions

BINS = 15
"""Bins of equal width that confidences are sorted into, as in Guo et al."""
_SMALLEST = 1e-12
_TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Reliability:
    """What happened to recordings of like confidence, (bins,) each; NaN in empty bins.

    Attributes:
        recordings: How many there are.
        confidence: Mean probability of their most probable species.
        accuracy: Share of them whose most probable species is the true one.
    """

    recordings: Labels
    confidence: Floats
    accuracy: Floats


def expected_calibration_error(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns how far confidence and accuracy lie apart, Σ n_b / n |accuracy_b - confidence_b|, in each resample."""
    resamples = resamples or Resamples.once(len(labels))
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    groups = len(resamples.counts)
    addresses = _bin_of(confidence) * groups + resamples.groups
    gap = (predictions.chosen == labels) - confidence
    gaps = np.bincount(addresses, gap, BINS * groups).reshape(BINS, groups) @ resamples.counts
    recordings = resamples.counts.T @ np.bincount(resamples.groups, minlength=groups)
    return np.asarray(np.abs(gaps).sum(axis=0) / recordings)


def sort_by_confidence(predictions: Predictions, labels: Labels) -> Reliability:
    """Returns the bins of the reliability diagram."""
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    bins = _bin_of(confidence)
    recordings = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(bins, confidence, BINS) / recordings
        correct = np.bincount(bins, predictions.chosen == labels, BINS) / recordings
    return Reliability(recordings, mean, correct)


def describe_calibration(probabilities: NDArray[np.floating], labels: Labels) -> dict[str, Any]:
    """Returns expected calibration error, negative log-likelihood and the filled bins of the reliability diagram."""
    predictions = Predictions(probabilities)
    reliability = sort_by_confidence(predictions, labels)
    return {
        "expected_calibration_error": float(expected_calibration_error(predictions, labels)[0]),
        "negative_log_likelihood": negative_log_likelihood(probabilities, labels),
        "bins": [
            {
                "recordings": int(reliability.recordings[index]),
                "confidence": float(reliability.confidence[index]),
                "accuracy": float(reliability.accuracy[index]),
            }
            for index in np.flatnonzero(reliability.recordings)
        ],
    }


def negative_log_likelihood(probabilities: NDArray[np.floating], labels: Labels) -> float:
    """Returns the mean of -log p(true species)."""
    own = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)
    return float(-np.log(np.maximum(own, _SMALLEST)).mean())


def fit_temperature(probabilities: NDArray[np.floating], labels: Labels) -> float:
    """Returns the temperature, 0.05 to 20, that gives calibrated probabilities the highest likelihood.

    Args:
        probabilities: (recordings, classes).
        labels: True class, (recordings,).
    """
    logits = _logits(probabilities)
    own = np.take_along_axis(logits, labels[:, np.newaxis], axis=1)

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        partition = np.exp(logits * inverse).sum(axis=1)  # log p <= 0: nothing overflows
        return float((np.log(partition) - own[:, 0] * inverse).mean())

    low, high = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x))


def calibrate(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Returns softmax(log p / T), (recordings, classes): above 1 flattens, below 1 sharpens."""
    return np.asarray(softmax(_logits(probabilities) / temperature, axis=1))


def cross_fit_calibration(
    probabilities: NDArray[np.floating], labels: Labels, folds: NDArray[np.int64]
) -> tuple[Floats, dict[int, float]]:
    """Returns each fold's probabilities at the temperature fitted on the other folds, and these temperatures.

    Args:
        probabilities: (recordings, classes).
        labels: True class, (recordings,).
        folds: Fold of each recording, (recordings,); one fold alone keeps temperature 1.
    """
    calibrated = probabilities.astype(np.float64)
    temperatures = {}
    for fold in np.unique(folds).tolist():
        own = folds == fold
        temperatures[fold] = 1.0 if own.all() else fit_temperature(probabilities[~own], labels[~own])
        calibrated[own] = calibrate(probabilities[own], temperatures[fold])
    return calibrated, temperatures


def _logits(probabilities: NDArray[np.floating]) -> Floats:
    return np.asarray(log_softmax(np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST)), axis=1))


def _bin_of(confidence: Floats) -> Labels:
    """Returns the bin of each confidence; bins hold their upper edge."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
