"""Logistic regression on statistics of the strips, a baseline for the network."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from birdclef.baselines.penalty_choice import choose_penalties
from birdclef.baselines.softmax_regression import predict_path
from birdclef.metrics.secondary_species import IgnoredPairs, of_rows
from cache.folds.groups import TEST_FOLD, is_held_out, is_trained_on, is_validated

PERCENTILES = (5, 25, 75, 95)
_LARGE = 3_000_000
"""Number of values from which several threads are faster than one."""


def strip_statistics(strip: NDArray[np.float16]) -> NDArray[np.float32]:
    """Returns mean, deviation and percentiles of each band over time, ((2 + percentiles) * n_mels,).

    All but the deviation are relative to the band's median, as the input of a network is. So a steady background and
    the colour of the microphone, which tell the recordist, are left out.

    Args:
        strip: (frames, n_mels) in dB.
    """
    values = strip.astype(np.float32)
    median, *percentiles = np.percentile(values, (50, *PERCENTILES), axis=0)
    relative = [values.mean(axis=0) - median, values.std(axis=0), *(value - median for value in percentiles)]
    return np.concatenate(relative).astype(np.float32)


def predict_out_of_fold(
    statistics: NDArray[np.float32], recordings: pd.DataFrame, classes: int, ignored: IgnoredPairs | None = None
) -> NDArray[np.float32]:
    """Returns probabilities of each recording from a regression on the other folds, (recordings, classes).

    Each species has the same weight, as in macro-F1. The penalty of each fold is chosen inside the fold's training
    side.

    Args:
        statistics: (recordings, features).
        recordings: Table with label_index, fold and group. Recordings with a negative fold get probabilities of 0.
        classes: Number of species.
        ignored: Pairs of recording and secondary species, which the choice of the penalty does not count; None: all
            pairs count.
    """
    labels = recordings["label_index"].to_numpy(np.int64)
    fold = recordings["fold"]
    groups = pd.factorize(recordings["group"])[0].astype(np.int64)
    probabilities = np.zeros((len(recordings), classes), np.float32)
    with threadpool_limits(1 if statistics.size < _LARGE else None):  # on small matrices one thread is the fastest
        for index in np.unique(fold[is_validated(fold)]):
            scored, trained = (fold == index).to_numpy(), is_trained_on(fold, index).to_numpy()
            training = statistics[trained], labels[trained]
            path = choose_penalties(*training, groups[trained], f"fold {index}", of_rows(ignored, trained))
            known = np.unique(labels[trained])
            probabilities[np.ix_(scored, known)] = predict_path(*training, statistics[scored], path)[-1]
    return probabilities


def predict_held_out(
    statistics: NDArray[np.float32],
    recordings: pd.DataFrame,
    folds: Sequence[int],
    classes: int,
    ignored: IgnoredPairs | None = None,
) -> NDArray[np.float32]:
    """Returns probabilities of the held-out recordings, (held out, classes), averaged over the folds' regressions.

    Members are averaged over their folds in the same way. `folds` are the folds that the members were trained for; the
    other arguments are those of `predict_out_of_fold`.
    """
    fold = recordings["fold"]
    everyone = is_held_out(fold).to_numpy()
    summed = np.zeros((int(everyone.sum()), classes), np.float64)
    for index in folds:  # held-out recordings take the place of the fold's own
        own = np.where(everyone, index, np.where(fold == index, TEST_FOLD, -1))
        predicted = predict_out_of_fold(statistics, recordings.assign(fold=own), classes, ignored)
        summed += predicted[everyone]
    return np.asarray(summed / len(folds), np.float32)
