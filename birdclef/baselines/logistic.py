"""Logistic regression on statistics of the strips, a baseline for the network."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from birdclef.metrics.classification import macro_f1
from birdclef.metrics.predictions import Predictions
from birdclef.metrics.secondary_species import IgnoredPairs, of_rows
from cache.folds.groups import TEST_FOLD, is_held_out, is_trained_on, is_validated

PERCENTILES = (5, 25, 50, 75, 95)
INVERSE_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
_INNER_FOLDS = 3
_MAX_ITERATIONS = 200


def strip_statistics(strip: NDArray[np.float16]) -> NDArray[np.float32]:
    """Returns mean, deviation and percentiles of each band over time, ((2 + percentiles) * n_mels,).

    Args:
        strip: (frames, n_mels) in dB.
    """
    values = strip.astype(np.float32)
    return np.concatenate(
        [values.mean(axis=0), values.std(axis=0), *np.percentile(values, PERCENTILES, axis=0)]
    ).astype(np.float32)


def predict_out_of_fold(
    statistics: NDArray[np.float32], recordings: pd.DataFrame, classes: int, ignored: IgnoredPairs | None = None
) -> NDArray[np.float32]:
    """Returns probabilities of each recording from a regression on the other folds, (recordings, classes).

    The penalty of each fold is chosen by grouped cross-validation inside the fold's training side.

    Args:
        statistics: (recordings, features).
        recordings: Table with label_index, fold and group. Recordings with a negative fold get probabilities of 0.
        classes: Number of species.
        ignored: Pairs of recording and secondary species, which the choice of the penalty does not count; None: all
            pairs count.
    """
    labels = recordings["label_index"].to_numpy()
    fold = recordings["fold"]
    groups = pd.factorize(recordings["group"])[0]
    probabilities = np.zeros((len(recordings), classes), np.float32)
    with threadpool_limits(1):  # on matrices of this size ten times faster than several threads
        for index in np.unique(fold[is_validated(fold)]):
            scored, trained = (fold == index).to_numpy(), is_trained_on(fold, index).to_numpy()
            training = statistics[trained], labels[trained]
            penalty = _choose_penalty(*training, groups[trained], of_rows(ignored, trained))
            probabilities[scored] = _predict(training, statistics[scored], penalty, classes)
    return probabilities


def predict_held_out(
    statistics: NDArray[np.float32], recordings: pd.DataFrame, classes: int, ignored: IgnoredPairs | None = None
) -> NDArray[np.float32]:
    """Returns probabilities of the held-out recordings, (held out, classes), averaged over the folds' regressions.

    Members are averaged over their folds in the same way. The arguments are those of `predict_out_of_fold`.
    """
    fold = recordings["fold"]
    folds = np.unique(fold[is_validated(fold)])
    everyone = is_held_out(fold).to_numpy()
    summed = np.zeros((int(everyone.sum()), classes), np.float64)
    for index in folds:  # held-out recordings take the place of the fold's own
        own = np.where(everyone, index, np.where(fold == index, TEST_FOLD, -1))
        predicted = predict_out_of_fold(statistics, recordings.assign(fold=own), classes, ignored)
        summed += predicted[everyone]
    return np.asarray(summed / len(folds), np.float32)


def _choose_penalty(
    statistics: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    ignored: IgnoredPairs | None,
) -> float:
    folds = min(_INNER_FOLDS, len(np.unique(groups)))
    if folds < 2:
        return INVERSE_PENALTIES[len(INVERSE_PENALTIES) // 2]
    classes = int(labels.max()) + 1 if ignored is None else ignored.shape[1]
    predictions = {penalty: np.zeros((len(labels), classes), np.float32) for penalty in INVERSE_PENALTIES}
    for training, held_out in GroupKFold(folds).split(statistics, labels, groups):
        for penalty, predicted in predictions.items():
            known = statistics[training], labels[training]
            predicted[held_out] = _predict(known, statistics[held_out], penalty, classes)
    scores = {
        penalty: float(macro_f1(Predictions(predicted, None, ignored), labels)[0])
        for penalty, predicted in predictions.items()
    }
    return max(scores, key=lambda penalty: scores[penalty])


def _predict(
    training: tuple[NDArray[np.float32], NDArray[np.int64]],
    statistics: NDArray[np.float32],
    inverse_penalty: float,
    classes: int,
) -> NDArray[np.float32]:
    """Returns probabilities from a regression, (recordings, classes).

    Args:
        training: Statistics and label indices of the training recordings.
        statistics: Statistics of the recordings to predict, (recordings, features).
        inverse_penalty: Inverse strength of the L2 penalty.
        classes: Number of species.
    """
    probabilities = np.zeros((len(statistics), classes), np.float32)
    known = np.unique(training[1])
    if len(known) == 1:
        probabilities[:, known[0]] = 1
        return probabilities
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        regression = LogisticRegression(C=inverse_penalty, max_iter=_MAX_ITERATIONS)
        model = make_pipeline(StandardScaler(), regression).fit(*training)
    probabilities[:, known] = model.predict_proba(statistics)
    return probabilities
