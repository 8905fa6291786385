"""Metrics of how each species ranks the recordings, for many weightings of the recordings at once.

As in `birdclef.metrics`, `weights` is (resamples, recordings) and None stands for one weighting of ones. Recordings
with equal scores share a threshold, as in scikit-learn.
"""

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics import Floats, Labels, weights_or_ones

PADDING_ROWS = 5
"""Rows of ones that BirdCLEF 2023 appended to truth and predictions before averaging precision."""


def macro_roc_auc(probabilities: NDArray[np.floating], labels: Labels, weights: Floats | None = None) -> Floats:
    """Returns the mean area under the ROC curve over the species that have it in each weighting, (resamples,)."""
    areas = roc_auc(probabilities, labels, weights)
    defined = ~np.isnan(areas)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, areas, 0).sum(axis=1) / defined.sum(axis=1))


def padded_cmap(probabilities: NDArray[np.floating], labels: Labels, weights: Floats | None = None) -> Floats:
    """Returns the padded class-mean average precision over all species, (resamples,): BirdCLEF 2023's metric.

    For each species five rows are appended in which it is present with score 1, so a species without recordings
    scores 1 and chance is not 0.
    """
    return np.asarray(average_precision(probabilities, labels, weights, PADDING_ROWS).mean(axis=1))


def roc_auc(probabilities: NDArray[np.floating], labels: Labels, weights: Floats | None = None) -> Floats:
    """Returns the area under each species' ROC curve, (resamples, classes); NaN without positives or negatives."""
    weights = weights_or_ones(weights, len(labels))
    areas = np.empty((len(weights), probabilities.shape[1]))
    for label in range(probabilities.shape[1]):
        positive, negative = _count_by_threshold(probabilities[:, label], labels == label, weights)
        positives, negatives = positive.sum(axis=1), negative.sum(axis=1)
        ranked_below = negatives[:, None] - negative.cumsum(axis=1) + negative / 2  # (resamples, thresholds)
        with np.errstate(invalid="ignore", divide="ignore"):
            areas[:, label] = (positive * ranked_below).sum(axis=1) / (positives * negatives)
    return areas


def average_precision(
    probabilities: NDArray[np.floating], labels: Labels, weights: Floats | None = None, padding_rows: int = 0
) -> Floats:
    """Returns each species' average precision Σ (R_n - R_(n-1)) P_n, (resamples, classes); NaN without positives.

    Args:
        probabilities: (recordings, classes).
        labels: True class, (recordings,).
        weights: (resamples, recordings).
        padding_rows: Rows appended for each species in which it is present with score 1.
    """
    weights = weights_or_ones(weights, len(labels))
    precisions = np.empty((len(weights), probabilities.shape[1]))
    for label in range(probabilities.shape[1]):
        scores = np.append(probabilities[:, label], 1.0)
        padded = np.hstack([weights, np.full((len(weights), 1), float(padding_rows))])
        positive, negative = _count_by_threshold(scores, np.append(labels == label, True), padded)
        found, retrieved = positive.cumsum(axis=1), (positive + negative).cumsum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(retrieved > 0, found / retrieved, 0)
            precisions[:, label] = (positive * precision).sum(axis=1) / positive.sum(axis=1)
    return precisions


def _count_by_threshold(
    scores: NDArray[np.floating], present: NDArray[np.bool_], weights: Floats
) -> tuple[Floats, Floats]:
    """Returns positives and negatives at each distinct score in descending order, (resamples, thresholds) each."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    ordered = weights[:, order]  # (resamples, recordings)
    total = np.add.reduceat(ordered, starts, axis=1)
    positive = np.add.reduceat(ordered * present[order], starts, axis=1)
    return positive, total - positive
