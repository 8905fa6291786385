"""Combines the predictions of several members into those of an ensemble."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from birdclef.config.evaluate import EnsembleMethod
from birdclef.metrics.classification import Floats
from birdclef.metrics.predictions import Labels
from birdclef.metrics.secondary_species import IgnoredPairs, leave_out_of_probabilities, of_rows
from birdclef.scores.prediction_files import OutOfFold

_SMALLEST = 1e-12
_FITTING_STEPS = 500
_NAMED_DIFFERENCES = 5


def check_members(members: Mapping[str, OutOfFold]) -> None:
    """Check that all members predict the same recordings and the same number of species.

    Args:
        members: Out-of-fold predictions by name of the member.

    Raises:
        ValueError: If two members differ. The message lists the differences.
    """
    (first_name, first), *others = members.items()
    known = set(first.recordings["recording_id"])
    for name, member in others:
        differing = sorted(known ^ set(member.recordings["recording_id"]))
        classes = first.probabilities.shape[2], member.probabilities.shape[2]
        if differing or classes[0] != classes[1]:
            listed = ", ".join(differing[:_NAMED_DIFFERENCES])
            more = f" and {len(differing) - _NAMED_DIFFERENCES} more" if len(differing) > _NAMED_DIFFERENCES else ""
            lone = f", and only one of them predicts {listed}{more}" if differing else ""
            raise ValueError(
                f"The members {first_name!r} and {name!r} cannot be combined: they predict {classes[0]} and "
                f"{classes[1]} species{lone}. "
                "Train both on the same folds of the same split."
            )


def combine_members(
    probabilities: Sequence[NDArray[np.floating]], how: EnsembleMethod, weights: Floats | None = None
) -> Floats:
    """Returns the members' combined probabilities, (recordings, classes).

    Args:
        probabilities: Probabilities of each member, (recordings, classes).
        how: `mean`, `geometric` or `rms` (root of the mean square): mean of the probabilities. `rank`: mean of the
            ranks that each species gives the recordings, which needs all recordings at once. `fitted`: weighted mean.
        weights: Weights of the members for `fitted`: (members,), or (members, recordings) if they differ between
            recordings.

    Raises:
        ValueError: If `how` is `fitted` and there are no weights.
    """
    stacked = np.stack(probabilities).astype(np.float64)  # (members, recordings, classes)
    if how == "mean":
        return np.asarray(stacked.mean(axis=0))
    if how == "fitted":
        if weights is None:
            raise ValueError("A fitted ensemble needs weights. Fit them with birdclef.scores.ensemble.fit_weights.")
        return np.asarray((stacked * weights.reshape(len(stacked), -1, 1)).sum(axis=0))
    if how == "geometric":
        combined = np.exp(np.log(np.maximum(stacked, _SMALLEST)).mean(axis=0))
    elif how == "rms":
        combined = np.sqrt((stacked**2).mean(axis=0))
    else:
        combined = rankdata(stacked, axis=1).mean(axis=0)
    return np.asarray(combined / combined.sum(axis=1, keepdims=True))


def fit_weights(
    probabilities: Sequence[NDArray[np.floating]], labels: Labels, ignored: IgnoredPairs | None = None
) -> Floats:
    """Returns the weights, (members,), for which the weighted mean of the members has the highest likelihood.

    The weights add up to 1. They are fitted as those of a mixture, by expectation maximisation: each step raises
    Σ log Σ_m w_m p_m(true species).

    Args:
        probabilities: Probabilities of each member, (recordings, classes).
        labels: True class of each recording, (recordings,).
        ignored: Pairs of recording and secondary species, which leave the probabilities; None: all pairs count.
    """
    if ignored is not None:
        probabilities = [leave_out_of_probabilities(member, ignored) for member in probabilities]
    own = np.stack([member[np.arange(len(labels)), labels] for member in probabilities]).astype(np.float64)
    own = np.maximum(own, _SMALLEST)  # (members, recordings)
    weights = np.full(len(own), 1 / len(own))
    for _ in range(_FITTING_STEPS):
        shares = weights[:, np.newaxis] * own
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return np.asarray(weights)


def cross_fit_weights(
    probabilities: Sequence[NDArray[np.floating]],
    labels: Labels,
    folds: NDArray[np.int64],
    ignored: IgnoredPairs | None = None,
) -> dict[int, Floats]:
    """Returns the weights of each fold, (members,), fitted on the other folds; with one fold, all weights are equal.

    Args:
        probabilities: Probabilities of each member, (recordings, classes).
        labels: True class of each recording, (recordings,).
        folds: Fold that validates each recording, (recordings,).
        ignored: Pairs of recording and secondary species, which do not count; None: all pairs count.
    """
    weights = {}
    for fold in np.unique(folds).tolist():
        others = folds != fold
        if others.any():
            known = [member[others] for member in probabilities]
            weights[fold] = fit_weights(known, labels[others], of_rows(ignored, others))
        else:
            weights[fold] = np.full(len(probabilities), 1 / len(probabilities))
    return weights


def combine_out_of_fold(
    probabilities: Sequence[NDArray[np.floating]],
    how: EnsembleMethod,
    labels: Labels,
    folds: NDArray[np.int64],
    ignored: IgnoredPairs | None = None,
) -> Floats:
    """Returns the members' combined probabilities, (recordings, classes).

    Fitted weights of a fold come from the other folds.

    Args:
        probabilities: Probabilities of each member, (recordings, classes).
        how: Method, as in `combine_members`.
        labels: True class of each recording, (recordings,).
        folds: Fold that validates each recording, (recordings,).
        ignored: Pairs of recording and secondary species, which no fit counts; None: all pairs count.
    """
    if how != "fitted":
        return combine_members(probabilities, how)
    by_fold = cross_fit_weights(probabilities, labels, folds, ignored)
    weights = np.stack([by_fold[fold] for fold in folds.tolist()], axis=1)  # (members, recordings)
    return combine_members(probabilities, how, weights)
