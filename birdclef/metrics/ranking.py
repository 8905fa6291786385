"""Metrics of how the probabilities of each species rank the recordings, for many resamples of the recordings at once.

The arguments are those of `birdclef.metrics.classification`. Recordings with equal probabilities share a threshold, as
in scikit-learn. The recordings in which a species is secondary are left out of the ranking of this species.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from birdclef.metrics.classification import Floats, Resamples
from birdclef.metrics.predictions import Labels, Predictions

PADDING_ROWS = 5
"""Rows of ones that BirdCLEF 2023 appended to the truth and to the predictions before it averaged the precision."""


@dataclass(frozen=True)
class Counts:
    """Recordings at and above the thresholds of one species, the highest threshold first.

    Thresholds are the probabilities of the positives, which are the recordings of the species, and 1 for padded rows.

    Attributes:
        positive: Positives at each threshold, (thresholds, resamples).
        retrieved: Recordings at or above each threshold, (thresholds, resamples).
        tied: Recordings at each threshold, (thresholds, resamples).
        total: All recordings that count, (resamples,).
    """

    positive: Floats
    retrieved: Floats
    tied: Floats
    total: Floats


@dataclass(frozen=True)
class _Places:
    """Recordings of one species, and its thresholds.

    Attributes:
        label: Index of the species.
        positives: Recordings of the species, (positives,).
        ignored: Recordings in which the species is secondary, (ignored,).
        thresholds: Rank of each threshold, the highest threshold first, (thresholds,).
    """

    label: int
    positives: Labels
    ignored: Labels
    thresholds: Labels


def macro_roc_auc(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns the mean area under the ROC curve, in each resample, over the species for which it is defined."""
    areas = roc_auc(predictions, labels, resamples)
    defined = ~np.isnan(areas)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, areas, 0).sum(axis=0) / defined.sum(axis=0))


def padded_cmap(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns the padded class-mean average precision over all species, the metric of BirdCLEF 2023.

    Five rows are appended for each species, in which the species is present with score 1. So a species without
    recordings scores 1, and chance lies above 0.
    """
    return np.asarray(average_precision(predictions, labels, resamples, PADDING_ROWS).mean(axis=0))


def roc_auc(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns the area under each species' ROC curve, (classes, resamples); NaN if no or all recordings are its own."""
    areas = []
    for counts in _count_by_threshold(predictions, labels, resamples, 0):
        found, positives = counts.positive.cumsum(axis=0), counts.positive.sum(axis=0)
        negatives = counts.total - positives
        ranked_below = negatives - (counts.retrieved - found) + (counts.tied - counts.positive) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            areas.append((counts.positive * ranked_below).sum(axis=0) / (positives * negatives))
    return np.stack(areas)


def average_precision(
    predictions: Predictions, labels: Labels, resamples: Resamples | None = None, padding_rows: int = 0
) -> Floats:
    """Returns the average precision Σ (R_n - R_(n-1)) P_n of each species, (classes, resamples); NaN without positives.

    Args:
        predictions: Predictions of all recordings.
        labels: True class of each recording, (recordings,).
        resamples: How often each recording counts; None: once.
        padding_rows: Rows appended for each species, in which the species is present with score 1.
    """
    precisions = []
    for counts in _count_by_threshold(predictions, labels, resamples, padding_rows):
        found = counts.positive.cumsum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(counts.retrieved > 0, found / counts.retrieved, 0)
            precisions.append((counts.positive * precision).sum(axis=0) / counts.positive.sum(axis=0))
    return np.stack(precisions)


def _count_by_threshold(
    predictions: Predictions, labels: Labels, resamples: Resamples | None, padding_rows: int
) -> Iterator[Counts]:
    """Yields the counts of each species at its thresholds."""
    classes = predictions.probabilities.shape[1]
    ends = np.cumsum(np.bincount(labels, minlength=classes))
    ignored, ignored_label = predictions.ignored_pairs
    ignored_of = np.split(ignored, np.cumsum(np.bincount(ignored_label, minlength=classes)))
    for label, rows in enumerate(np.split(np.argsort(labels, kind="stable"), ends)[:classes]):
        thresholds = np.unique(predictions.last_rank[rows, label])
        if padding_rows:
            thresholds = np.union1d(thresholds, predictions.certain[label])
        places = _Places(label, rows, ignored_of[label], thresholds)
        if resamples is None:
            counts = _count_once(predictions, places)
        else:
            counts = _count_resampled(predictions, places, resamples)
        if padding_rows:
            counts.positive[0] += padding_rows
            counts.retrieved[:] += padding_rows
        yield counts


def _count_once(predictions: Predictions, places: _Places) -> Counts:
    """Returns the counts if each recording counts once; they follow from the ranks of positives and ignored pairs."""
    rank, thresholds = predictions.last_rank[:, places.label], places.thresholds
    part = np.searchsorted(thresholds, rank[places.positives])
    positive = np.bincount(part, minlength=len(thresholds)).astype(np.float64)
    tied = np.zeros(len(thresholds))
    tied[part] = predictions.equals[places.positives, places.label]
    ignored = np.sort(rank[places.ignored])
    upto = np.searchsorted(ignored, thresholds, side="right")
    tied -= upto - np.searchsorted(ignored, thresholds)
    retrieved = (thresholds - upto).astype(np.float64)
    total = np.array([float(len(rank) - len(ignored))])
    return Counts(positive[:, np.newaxis], retrieved[:, np.newaxis], tied[:, np.newaxis], total)


def _count_resampled(predictions: Predictions, places: _Places, resamples: Resamples) -> Counts:
    rank, thresholds = predictions.last_rank[:, places.label], places.thresholds
    part = np.searchsorted(thresholds, rank)  # first threshold that retrieves the recording; len(thresholds): none does
    parts = len(thresholds) + 1
    counted, present = np.ones(len(rank), bool), np.zeros(len(rank), bool)
    counted[places.ignored] = False
    present[places.positives] = True
    at_threshold = (np.append(thresholds, -1)[part] == rank) & counted
    between = resamples.add_up(part, parts, counted if len(places.ignored) else None)
    positive, tied = (resamples.add_up(part, parts, chosen)[:-1] for chosen in (present, at_threshold))
    return Counts(positive, between.cumsum(axis=0)[:-1], tied, between.sum(axis=0))
