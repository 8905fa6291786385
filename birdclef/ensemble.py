"""Out-of-fold predictions of a member, and members combined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_SMALLEST = 1e-12
_NAMED_DIFFERENCES = 5


@dataclass(frozen=True)
class OutOfFold:
    """One member's predictions, each recording by the fold that did not train on it.

    Attributes:
        recordings: recording_id and label, sorted by recording_id.
        views: Names and settings of the views, with the seconds they took over all folds.
        probabilities: (views, recordings, classes).
    """

    recordings: pd.DataFrame
    views: pd.DataFrame
    probabilities: NDArray[np.float32]

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean over views, (recordings, classes)."""
        return np.asarray(self.probabilities.mean(axis=0))

    def of(self, recording_ids: pd.Series) -> NDArray[np.float32]:
        """Returns the mean over views for some of the recordings, in their order, (recordings, classes)."""
        rows = pd.Index(self.recordings["recording_id"]).get_indexer(pd.Index(recording_ids))
        return np.asarray(self.mean[rows])


def read_out_of_fold(predictions: Sequence[Path]) -> OutOfFold:
    """Returns the predictions of all folds of a member as one table.

    Raises:
        ValueError: If two folds predict the same recording.
    """
    tables = [pd.read_csv(path / "recordings.csv", dtype=str, keep_default_na=False) for path in predictions]
    views = [pd.read_csv(path / "views.csv") for path in predictions]
    recordings = pd.concat(tables, ignore_index=True)
    twice = recordings.loc[recordings["recording_id"].duplicated(), "recording_id"]
    if len(twice):
        raise ValueError(
            f"{len(twice)} recordings are predicted by two folds, {twice.iloc[0]} among them. Give each fold once."
        )
    probabilities = np.concatenate([np.load(path / "probabilities.npy") for path in predictions], axis=1)
    order = np.argsort(recordings["recording_id"].to_numpy(str), kind="stable")
    seconds = sum(table["seconds"] for table in views)
    return OutOfFold(
        recordings.iloc[order].reset_index(drop=True), views[0].assign(seconds=seconds), probabilities[:, order]
    )


def check_members(members: Mapping[str, OutOfFold]) -> None:
    """Refuse members that do not cover the same recordings and species.

    Raises:
        ValueError: With a list of the differences.
    """
    (first_name, first), *others = members.items()
    known = set(first.recordings["recording_id"])
    for name, member in others:
        differing = sorted(known ^ set(member.recordings["recording_id"]))
        classes = first.probabilities.shape[2], member.probabilities.shape[2]
        if differing or classes[0] != classes[1]:
            listed = ", ".join(differing[:_NAMED_DIFFERENCES])
            more = f" and {len(differing) - _NAMED_DIFFERENCES} more" if len(differing) > _NAMED_DIFFERENCES else ""
            raise ValueError(
                f"The members {first_name!r} and {name!r} cannot be combined: they predict {classes[0]} and "
                f"{classes[1]} species, and {len(differing)} recordings stand in only one of them ({listed}{more}). "
                "Train both on the same folds of the same split."
            )


def combine_members(
    probabilities: Sequence[NDArray[np.float32]], how: Literal["mean", "geometric"]
) -> NDArray[np.float64]:
    """Returns the members' combined probabilities, (recordings, classes).

    Args:
        probabilities: Of each member, (recordings, classes).
        how: Arithmetic or geometric mean.
    """
    stacked = np.stack(probabilities).astype(np.float64)  # (members, recordings, classes)
    if how == "geometric":
        combined = np.exp(np.log(np.maximum(stacked, _SMALLEST)).mean(axis=0))
        return np.asarray(combined / combined.sum(axis=1, keepdims=True))
    return np.asarray(stacked.mean(axis=0))
