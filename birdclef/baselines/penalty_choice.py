"""Chooses the strength of a regression's penalty by grouped cross-validation."""

import logging
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from birdclef.baselines.softmax_regression import predict_path
from birdclef.metrics.classification import macro_f1
from birdclef.metrics.predictions import Predictions
from birdclef.metrics.secondary_species import IgnoredPairs

logger = logging.getLogger(__name__)

FIRST_EXPONENTS = (-5, 1)
"""First and last inverse penalty of the grid to begin with, as powers of ten."""
BOUNDS = (-8, 4)
"""Powers of ten that the grid never leaves."""
WIDENING = 2
"""Powers by which a grid grows at an edge that wins."""
INNER_FOLDS = 3
INNER_SETS = 3
_MANY_RECORDINGS = 3000
"""Number of recordings from which a single set of inner folds is enough, because their score varies little."""


def choose_penalties(
    statistics: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    name: str,
    ignored: IgnoredPairs | None = None,
) -> list[float]:
    """Returns inverse penalties C from the strongest up to the best one, which is the last.

    The best one has the highest macro-F1, averaged over several sets of inner folds; no group is on both sides of a
    fold. If the best lies at an edge of the grid, the grid grows at that edge until it does not. Of equal scores the
    one in the middle counts, so an edge never wins by a tie.

    Args:
        statistics: Features of the training recordings, (recordings, features).
        labels: Species of each recording, (recordings,).
        groups: Group of each recording, (recordings,).
        name: What is fitted, for the log.
        ignored: Pairs of recording and secondary species, which are never chosen; None: all pairs count.
    """
    low, high = FIRST_EXPONENTS
    if _count_folds(labels, groups) < 2 or len(np.unique(labels)) < 2:
        return _grid(low, (low + high) // 2)
    scores = _score(statistics, labels, groups, range(low, high + 1), ignored)
    while (best := _middle_of_best(scores)) in (min(scores), max(scores)):
        if best in BOUNDS:
            logger.warning(
                "baseline, %s: the best inverse penalty %g is the limit of the search; the baseline may be too low",
                *(name, _penalty(best)),
            )
            break
        wider = range(best - WIDENING, best) if best == min(scores) else range(best, best + WIDENING + 1)
        inside = [one for one in wider if BOUNDS[0] <= one <= BOUNDS[1]]
        scores |= _score(statistics, labels, groups, inside, ignored)
    return _grid(min(scores), best)


def _score(
    statistics: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    exponents: Sequence[int],
    ignored: IgnoredPairs | None,
) -> dict[int, float]:
    """Returns macro-F1 of each inverse penalty on the validated groups, averaged over the sets of inner folds."""
    path = [_penalty(exponent) for exponent in exponents]
    folds = _count_folds(labels, groups)
    classes = int(labels.max()) + 1 if ignored is None else ignored.shape[1]
    totals = np.zeros(len(path))
    for seed in range(INNER_SETS if len(labels) < _MANY_RECORDINGS else 1):
        probabilities = np.zeros((len(path), len(labels), classes), np.float32)
        for training, validated in _split(folds, labels, groups, seed):
            known = np.unique(labels[training])
            predicted = predict_path(statistics[training], labels[training], statistics[validated], path)
            probabilities[:, validated[:, np.newaxis], known] = predicted
        totals += [float(macro_f1(Predictions(one, None, ignored), labels)[0]) for one in probabilities]
    return dict(zip(exponents, totals.tolist(), strict=True))


def _count_folds(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> int:
    """Returns the number of inner folds, at most that of the groups and that of recordings of the commonest species."""
    return min(INNER_FOLDS, len(np.unique(groups)), int(np.bincount(labels).max()))


def _split(
    folds: int, labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Returns training and validated recordings of each inner fold; folds that leave nothing on a side are left out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class in y")  # rare species are expected
        cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, groups)
        return [(training, validated) for training, validated in cut if len(training) and len(validated)]


def _middle_of_best(scores: dict[int, float]) -> int:
    """Returns the exponent with the highest score; of equal ones the middle one."""
    best = [exponent for exponent in sorted(scores) if scores[exponent] == max(scores.values())]
    return best[len(best) // 2]


def _penalty(exponent: int) -> float:
    return 10.0**exponent


def _grid(first: int, last: int) -> list[float]:
    return [_penalty(exponent) for exponent in range(first, last + 1)]
