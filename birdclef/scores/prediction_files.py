"""The files of a predictions artefact: their names, how they are written and how they are read.

Members, baselines and an embedding model's own labels all write `probabilities.npy`, `recordings.csv` and `views.csv`.
Members add `features.npy`, and own labels add `labels.csv`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.metrics.classification import Floats
from birdclef.scores.member_probabilities import average_probabilities

_PROBABILITIES = "probabilities.npy"
_RECORDINGS = "recordings.csv"
_VIEWS = "views.csv"
_FEATURES = "features.npy"
_OWN_LABELS = "labels.csv"


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of one member. The model that predicts a recording was not trained on the recording's fold.

    Attributes:
        recordings: recording_id and label, sorted by recording_id.
        views: Name, settings and weight of each view, and its windows and seconds summed over all folds.
        probabilities: (views, recordings, classes).
    """

    recordings: pd.DataFrame
    views: pd.DataFrame
    probabilities: NDArray[np.float32]

    @property
    def mean(self) -> Floats:
        """Weighted mean over views, (recordings, classes)."""
        return self.mean_of(range(len(self.views)))

    def mean_of(self, views: Sequence[int]) -> Floats:
        """Returns the weighted mean over some of the views, (recordings, classes)."""
        chosen = list(views)
        return average_probabilities([self.probabilities[chosen]], self.views["weight"].to_numpy(np.float64)[chosen])

    def of(self, recording_ids: pd.Series) -> Floats:
        """Returns the mean over views for some of the recordings, in the order given, (recordings, classes)."""
        rows = pd.Index(self.recordings["recording_id"]).get_indexer(pd.Index(recording_ids))
        return np.asarray(self.mean[rows])


def write_predictions(
    directory: Path,
    recordings: pd.DataFrame,
    probabilities: Sequence[NDArray[np.floating]],
    views: Sequence[Mapping[str, Any]],
) -> None:
    """Write the three files that all predictions have.

    Args:
        directory: Where they are written.
        recordings: recording_id and label; other columns are left out.
        probabilities: Of each view, (recordings, classes).
        views: Row of `views.csv` for each view: name, settings, weight, windows and seconds.
    """
    np.save(directory / _PROBABILITIES, np.stack(probabilities).astype(np.float32))  # (views, recordings, classes)
    recordings[["recording_id", "label"]].to_csv(directory / _RECORDINGS, index=False)
    pd.DataFrame(views).to_csv(directory / _VIEWS, index=False)


def write_unviewed_predictions(
    directory: Path, recordings: pd.DataFrame, probabilities: NDArray[np.floating], seconds: float
) -> None:
    """Write the files of a classifier that judges whole recordings: they count as one view.

    Args:
        directory: Where they are written.
        recordings: recording_id and label; other columns are left out.
        probabilities: (recordings, classes).
        seconds: How long the predictions took.
    """
    view = {"view": "whole recording", "weight": 1.0, "windows": len(recordings), "seconds": seconds}
    write_predictions(directory, recordings, [probabilities], [view])


def write_features(directory: Path, features: NDArray[np.floating]) -> None:
    """Write pooled backbone features, (recordings, width), as float16."""
    np.save(directory / _FEATURES, features.astype(np.float16))


def write_own_labels(directory: Path, species: pd.DataFrame, own_labels: Sequence[str]) -> None:
    """Write the model's own label of each species.

    Args:
        directory: Where the table is written.
        species: label and scientific_name; other columns are left out.
        own_labels: Label of each species; empty if the model has none.
    """
    species[["label", "scientific_name"]].assign(own_label=own_labels).to_csv(directory / _OWN_LABELS, index=False)


def read_out_of_fold(predictions: Sequence[Path]) -> OutOfFold:
    """Returns the predictions of all folds of a member as one table.

    Raises:
        ValueError: If two folds predict the same recording.
    """
    views = [pd.read_csv(path / _VIEWS) for path in predictions]
    recordings = pd.concat([read_recordings(path) for path in predictions], ignore_index=True)
    twice = recordings.loc[recordings["recording_id"].duplicated(), "recording_id"]
    if len(twice):
        raise ValueError(
            f"Recordings that two folds predict: {len(twice)}, {twice.iloc[0]} among them. Give each fold once."
        )
    probabilities = np.concatenate([np.load(path / _PROBABILITIES) for path in predictions], axis=1)
    order = np.argsort(recordings["recording_id"].to_numpy(str), kind="stable")
    added_up = {name: sum(table[name] for table in views) for name in ("seconds", "windows")}
    return OutOfFold(
        recordings.iloc[order].reset_index(drop=True), views[0].assign(**added_up), probabilities[:, order]
    )


def read_recordings(predictions: Path) -> pd.DataFrame:
    """Returns recording_id and label of the predicted recordings, in the order of the other files' rows."""
    return pd.read_csv(predictions / _RECORDINGS, dtype=str, keep_default_na=False)


def open_features(predictions: Path) -> NDArray[np.float16]:
    """Returns the pooled backbone features, (recordings, width), mapped into memory and not yet read."""
    features: NDArray[np.float16] = np.load(predictions / _FEATURES, mmap_mode="r")
    return features


def read_own_labels(predictions: Path) -> pd.DataFrame:
    """Returns label, scientific_name and own_label of each species; own_label is empty if the model has none."""
    return pd.read_csv(predictions / _OWN_LABELS, dtype=str, keep_default_na=False)


def prediction_seconds(predictions: Path) -> float:
    """Returns the seconds that all views together took."""
    return float(pd.read_csv(predictions / _VIEWS)["seconds"].sum())
