"""Metrics of the species chosen for each recording, computed for many resamples of the recordings at once.

A metric takes predictions, the true class of each recording, (recordings,), and resamples. It returns one value for
each resample, (resamples,). If resamples is None, every recording counts once, and the metric is (1,). A secondary
species of a recording is neither a hit nor an error: the most probable species is chosen among the others, and a
decision that it is present does not count.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from birdclef.metrics.predictions import Labels, Predictions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Resamples:
    """How often each recording counts in each resample; the recordings of a group count equally often.

    Attributes:
        groups: Index of each recording's group, (recordings,).
        counts: How often each group was drawn, (groups, resamples).
    """

    groups: Labels
    counts: Floats

    @staticmethod
    def once(recordings: int) -> "Resamples":
        """Returns a single resample in which each recording counts once."""
        return Resamples(np.zeros(recordings, np.int64), np.ones((1, 1)))

    def add_up(self, cells: Labels, number: int, chosen: NDArray[np.bool_] | None = None) -> Floats:
        """Returns how often the recordings of each cell count in each resample, (number, resamples).

        Args:
            cells: Index of each recording's cell, such as its species, (recordings,).
            number: Number of cells.
            chosen: Whether a recording counts at all, (recordings,); None: all recordings count.
        """
        rows, columns = (cells, self.groups) if chosen is None else (cells[chosen], self.groups[chosen])
        table = csr_array((np.ones(len(rows)), (rows, columns)), shape=(number, len(self.counts)))
        return np.asarray(table @ self.counts)


@dataclass(frozen=True)
class SpeciesScores:
    """Precision, recall, F1 and support of each species, (classes,) each; NaN where undefined."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Labels


def macro_f1(
    predictions: Predictions,
    labels: Labels,
    resamples: Resamples | None = None,
    among: NDArray[np.bool_] | None = None,
) -> Floats:
    """Returns the mean F1 over the species with support, by the most probable species, in each resample.

    Args:
        predictions: Predictions of all recordings.
        labels: True class of each recording, (recordings,).
        resamples: How often each recording counts; None: once.
        among: Whether a species belongs to the mean, (classes,); None: all species do.
    """
    return _average_f1(*_count_chosen(predictions, labels, resamples), among)


def macro_f1_by_thresholds(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns the mean F1 over the species with support, by the species decided to be present, in each resample."""
    return _average_f1(*_count_decided(predictions, labels, resamples), None)


def micro_f1(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns F1 over all pairs of recording and most probable species; it equals the accuracy."""
    return _pool_f1(*_count_chosen(predictions, labels, resamples))


def micro_f1_by_thresholds(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns F1 over all pairs of recording and species decided to be present."""
    return _pool_f1(*_count_decided(predictions, labels, resamples))


def accuracy(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns the share of recordings whose most probable species is the true one."""
    return average(predictions.chosen == labels, resamples)


def top_3_accuracy(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns the share of recordings whose true species is among the three most probable ones."""
    return average(_rank_truth(predictions, labels) < 3, resamples)


def top_5_accuracy(predictions: Predictions, labels: Labels, resamples: Resamples | None = None) -> Floats:
    """Returns the share of recordings whose true species is among the five most probable ones."""
    return average(_rank_truth(predictions, labels) < 5, resamples)


def average(hits: NDArray[np.bool_], resamples: Resamples | None) -> Floats:
    """Returns the share of recordings that are hits, in each resample, (resamples,).

    Args:
        hits: Whether a recording is a hit, (recordings,).
        resamples: How often each recording counts; None: once.
    """
    resamples = resamples or Resamples.once(len(hits))
    missed, hit = resamples.add_up(hits.astype(np.int64), 2)
    return np.asarray(hit / (missed + hit))


def score_species(predictions: Predictions, labels: Labels) -> SpeciesScores:
    """Returns the scores of each species by the most probable species of each recording."""
    return _score_each(*_count_chosen(predictions, labels, None))


def score_species_by_thresholds(predictions: Predictions, labels: Labels) -> SpeciesScores:
    """Returns the scores of each species by the species decided to be present in each recording."""
    return _score_each(*_count_decided(predictions, labels, None))


def confusion_matrix(predictions: Predictions, labels: Labels) -> Labels:
    """Returns the recordings by true species (row) and most probable species (column), (classes, classes)."""
    matrix = np.zeros((predictions.probabilities.shape[1],) * 2, np.int64)
    np.add.at(matrix, (labels, predictions.chosen), 1)
    return matrix


def _rank_truth(predictions: Predictions, labels: Labels) -> Labels:
    """Returns how many species that count rank before the true one, (recordings,).

    Those are the more probable species, and the equally probable ones with a lower class index.
    """
    own = np.take_along_axis(predictions.probabilities, labels[:, np.newaxis], axis=1)
    earlier = np.arange(predictions.probabilities.shape[1]) < labels[:, np.newaxis]
    before = (predictions.probabilities > own) | ((predictions.probabilities == own) & earlier)
    before[predictions.ignored_pairs] = False
    return np.asarray(before.sum(axis=1))


def _score_each(support: Floats, predicted: Floats, correct: Floats) -> SpeciesScores:
    """Returns the scores that follow from counts, (classes, 1) each."""
    support, predicted, correct = support[:, 0], predicted[:, 0], correct[:, 0]
    with np.errstate(invalid="ignore"):
        precision, recall = correct / predicted, correct / support
        f1 = np.where(support > 0, 2 * correct / (support + predicted), np.nan)
    return SpeciesScores(precision, recall, f1, support.astype(np.int64))


def _average_f1(support: Floats, predicted: Floats, correct: Floats, among: NDArray[np.bool_] | None) -> Floats:
    """Returns the mean F1 over the species with support, (resamples,), from counts, (classes, resamples) each."""
    f1 = 2 * correct / np.maximum(support + predicted, 1e-300)
    supported = support > 0 if among is None else (support > 0) & among[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        return np.asarray((f1 * supported).sum(axis=0) / supported.sum(axis=0))


def _pool_f1(support: Floats, predicted: Floats, correct: Floats) -> Floats:
    return np.asarray(2 * correct.sum(axis=0) / (support + predicted).sum(axis=0))


def _count_chosen(
    predictions: Predictions, labels: Labels, resamples: Resamples | None
) -> tuple[Floats, Floats, Floats]:
    """Returns support, predictions and correct predictions, (classes, resamples) each."""
    resamples = resamples or Resamples.once(len(labels))
    classes = predictions.probabilities.shape[1]
    chosen = predictions.chosen
    correct = resamples.add_up(labels, classes, chosen == labels)
    return resamples.add_up(labels, classes), resamples.add_up(chosen, classes), correct


def _count_decided(
    predictions: Predictions, labels: Labels, resamples: Resamples | None
) -> tuple[Floats, Floats, Floats]:
    """Returns support, decisions and correct decisions, (classes, resamples) each."""
    resamples = resamples or Resamples.once(len(labels))
    if predictions.decisions is None:
        raise ValueError("These predictions have no decisions. Fit thresholds first, with birdclef.metrics.thresholds.")
    classes = predictions.probabilities.shape[1]
    decisions = predictions.decisions.copy()
    decisions[predictions.ignored_pairs] = False
    recordings, decided = np.nonzero(decisions)
    of_decision = Resamples(resamples.groups[recordings], resamples.counts)
    correct = of_decision.add_up(decided, classes, decided == labels[recordings])
    return resamples.add_up(labels, classes), of_decision.add_up(decided, classes), correct
