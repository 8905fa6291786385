"""Metrics of the most probable species, each computed for many weightings of the recordings at once.

A weighting says how often each recording counts: all ones give the metric itself, multiplicities give a bootstrap
resample. `weights` is (resamples, recordings) and every metric is (resamples,).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class SpeciesScores:
    """Precision, recall, F1 and support of each species, (classes,) each; not a number where undefined."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Labels


def macro_f1(
    probabilities: NDArray[np.floating],
    labels: Labels,
    weights: Floats | None = None,
    among: NDArray[np.bool_] | None = None,
) -> Floats:
    """Returns the mean F1 of the most probable species, over the species with support in each weighting.

    Args:
        probabilities: (recordings, classes).
        labels: True class, (recordings,).
        weights: (resamples, recordings); None: one weighting of ones.
        among: Species that the mean is taken over, (classes,); None: all.
    """
    support, predicted, correct = _count(probabilities, labels, weights)
    f1 = 2 * correct / np.maximum(support + predicted, 1e-300)  # (resamples, classes)
    supported = support > 0 if among is None else (support > 0) & among
    with np.errstate(invalid="ignore"):
        return np.asarray((f1 * supported).sum(axis=1) / supported.sum(axis=1))


def accuracy(probabilities: NDArray[np.floating], labels: Labels, weights: Floats | None = None) -> Floats:
    """Returns the share of recordings whose most probable species is the true one."""
    weights = weights_or_ones(weights, len(labels))
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    return np.asarray(weights @ correct / weights.sum(axis=1))


def score_species(probabilities: NDArray[np.floating], labels: Labels) -> SpeciesScores:
    """Returns the scores of each species by the most probable species of each recording."""
    support, predicted, correct = (counts[0] for counts in _count(probabilities, labels, None))
    with np.errstate(invalid="ignore"):
        precision, recall = correct / predicted, correct / support
        f1 = np.where(support > 0, 2 * correct / (support + predicted), np.nan)
    return SpeciesScores(precision, recall, f1, support.astype(np.int64))


def confusion_matrix(probabilities: NDArray[np.floating], labels: Labels) -> Labels:
    """Returns how often each species (row) was taken for each (column), (classes, classes)."""
    matrix = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(matrix, (labels, probabilities.argmax(axis=1)), 1)
    return matrix


def weights_or_ones(weights: Floats | None, recordings: int) -> Floats:
    """Returns the weights, or one weighting in which every recording counts once."""
    return np.ones((1, recordings)) if weights is None else weights


def _count(
    probabilities: NDArray[np.floating], labels: Labels, weights: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Returns support, predictions and correct predictions, (resamples, classes) each."""
    weights = weights_or_ones(weights, len(labels))
    classes = np.eye(probabilities.shape[1])
    truth, prediction = classes[labels], classes[probabilities.argmax(axis=1)]  # (recordings, classes)
    return weights @ truth, weights @ prediction, weights @ (truth * prediction)
