"""Thresholds of the species: a species is decided to be present from this probability on."""

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics.calibration import calibrate, fit_temperature
from birdclef.metrics.classification import Floats
from birdclef.metrics.predictions import Labels
from birdclef.metrics.secondary_species import IgnoredPairs, of_rows


def fit_thresholds(probabilities: NDArray[np.floating], labels: Labels, ignored: IgnoredPairs | None = None) -> Floats:
    """Returns for each species the threshold with the highest F1, (classes,).

    The threshold lies half way between the lowest probability that counts as present and the next lower one. Of equally
    good thresholds the highest is taken. A species without recordings gets the threshold with the highest F1 over all
    pairs of recording and species.

    Args:
        probabilities: (recordings, classes).
        labels: True class of each recording, (recordings,).
        ignored: Pairs of recording and secondary species, which are neither present nor absent; None: all pairs count.
    """
    scores = np.ascontiguousarray(probabilities.T)  # (classes, recordings)
    present = labels == np.arange(len(scores))[:, np.newaxis]
    counted = np.ones(scores.shape, bool)
    if ignored is not None:
        counted[ignored.T.nonzero()] = False
    known = present.any(axis=1)
    thresholds = np.empty(len(scores))
    if not known.all():
        thresholds[:] = _best_threshold(scores[counted], present[counted])
    for label in np.flatnonzero(known):
        own = counted[label]
        thresholds[label] = _best_threshold(scores[label, own], present[label, own])
    return thresholds


def cross_fit_decisions(
    probabilities: NDArray[np.floating],
    labels: Labels,
    folds: NDArray[np.int64],
    ignored: IgnoredPairs | None = None,
) -> NDArray[np.bool_]:
    """Returns which species are decided to be present in each recording.

    Temperature and thresholds of a fold are fitted on the other folds.

    Args:
        probabilities: Not calibrated, (recordings, classes).
        labels: True class of each recording, (recordings,).
        folds: Fold of each recording, (recordings,). If there is only one fold, nothing is fitted, and the threshold is
            0.5.
        ignored: Pairs of recording and secondary species, which no fit counts; None: all pairs count.

    Returns:
        Decisions, (recordings, classes).
    """
    decisions = probabilities >= 0.5
    for fold in np.unique(folds):
        own = folds == fold
        if not own.all():
            others, known, secondary = probabilities[~own], labels[~own], of_rows(ignored, ~own)
            temperature = fit_temperature(others, known, secondary)
            thresholds = fit_thresholds(calibrate(others, temperature), known, secondary)
            decisions[own] = calibrate(probabilities[own], temperature) >= thresholds
    return decisions


def _best_threshold(scores: NDArray[np.floating], present: NDArray[np.bool_]) -> float:
    """Returns the threshold with the highest F1.

    Only thresholds just below the score of a positive are tried, because no other threshold can be better.

    Args:
        scores: Probabilities of one species, or of several.
        present: Whether the species is present, in the shape of `scores`.
    """
    ordered = np.sort(scores)
    positive = np.sort(scores[present])[::-1]
    lower = np.searchsorted(ordered, positive)  # number of scores below each positive
    found = len(positive) - np.searchsorted(positive[::-1], positive)
    best = int((2 * found / (len(scores) - lower + len(positive))).argmax())
    below = ordered[lower[best] - 1] if lower[best] else 0.0
    return float((positive[best] + below) / 2)
