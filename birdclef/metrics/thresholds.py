"""Per-species thresholds: from which probability a species is said to be present."""

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics.calibration import calibrate, fit_temperature
from birdclef.metrics.classification import Floats
from birdclef.metrics.predictions import Labels


def fit_thresholds(probabilities: NDArray[np.floating], labels: Labels) -> Floats:
    """Returns the threshold of each species that gives it the highest F1, (classes,).

    It lies half way between the last probability that counts as present and the next one; of equally good ones the
    highest is taken. Species without recordings get the threshold that gives the highest F1 over all pairs of
    recording and species.

    Args:
        probabilities: (recordings, classes).
        labels: True class, (recordings,).
    """
    scores = np.ascontiguousarray(probabilities.T)  # (classes, recordings)
    present = labels == np.arange(len(scores))[:, np.newaxis]
    known = present.any(axis=1)
    thresholds = np.empty(len(scores))
    if not known.all():
        thresholds[:] = _best_threshold(scores.ravel(), present.ravel())
    for label in np.flatnonzero(known):
        thresholds[label] = _best_threshold(scores[label], present[label])
    return thresholds


def cross_fit_decisions(
    probabilities: NDArray[np.floating], labels: Labels, folds: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns which species are said to be present in each recording.

    Temperature and thresholds of a fold are both fitted on the other folds alone.

    Args:
        probabilities: (recordings, classes), not calibrated.
        labels: True class, (recordings,).
        folds: Fold of each recording, (recordings,); of one fold only, nothing can be fitted, and the threshold is 0.5.

    Returns:
        Decisions, (recordings, classes).
    """
    decisions = probabilities >= 0.5
    for fold in np.unique(folds):
        own = folds == fold
        if not own.all():
            temperature = fit_temperature(probabilities[~own], labels[~own])
            thresholds = fit_thresholds(calibrate(probabilities[~own], temperature), labels[~own])
            decisions[own] = calibrate(probabilities[own], temperature) >= thresholds
    return decisions


def _best_threshold(scores: NDArray[np.floating], present: NDArray[np.bool_]) -> float:
    """Returns the best threshold of some scores; it can only lie just below the score of a positive."""
    ordered = np.sort(scores)
    positive = np.sort(scores[present])[::-1]
    lower = np.searchsorted(ordered, positive)  # how many scores lie below each positive
    found = len(positive) - np.searchsorted(positive[::-1], positive)
    best = int((2 * found / (len(scores) - lower + len(positive))).argmax())
    below = ordered[lower[best] - 1] if lower[best] else 0.0
    return float((positive[best] + below) / 2)
