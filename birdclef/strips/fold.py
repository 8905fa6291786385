"""One fold of a split: its training and validation recordings and their strips."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cache.config.features import FeatureConfig, read_features
from cache.folds.groups import is_held_out, is_trained_on, is_validated
from cache.folds.split_table import read_split, split_catalogue
from cache.recordings.background_tables import Background
from cache.recordings.catalogue_tables import feature_directory, read_catalogue, read_species
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace


@dataclass(frozen=True)
class FoldData:
    """The two sides of a fold.

    Attributes:
        train: Training recordings: recording_id, label, label_index, sha256, ...
        validation: Validation recordings, with the same columns.
        species: Species codes in the order of the label indices.
        features: Settings of the features in the strips.
        store: Feature directory that holds the strips.
        background: The user's own noise; None: there is none.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    species: list[str]
    features: FeatureConfig
    store: FeatureDirectory
    background: Background | None = None


def read_labelled_recordings(split: Path, catalogue: Path) -> pd.DataFrame:
    """Returns the usable recordings with label_index, fold and group, sorted by recording_id.

    The fold of a recording that is always in training is -1.
    """
    recordings = read_catalogue(catalogue)
    index_of = {label: index for index, label in enumerate(read_species(catalogue)["label"])}
    recordings["label_index"] = recordings["label"].map(index_of).astype("int64")
    folds = read_split(split)[["recording_id", "fold", "group"]]
    return recordings.merge(folds, on="recording_id", validate="one_to_one").sort_values(
        "recording_id", ignore_index=True
    )


def read_held_out(split: Path, catalogue: Path) -> pd.DataFrame:
    """Returns the usable recordings that a split holds out, with the columns of `read_labelled_recordings`."""
    recordings = read_labelled_recordings(split, catalogue)
    return recordings[is_held_out(recordings["fold"]).to_numpy()].reset_index(drop=True)


def read_fold(
    split: Path,
    fold: int,
    workspace: Workspace,
    store: FeatureDirectory | None = None,
    background: Path | None = None,
) -> FoldData:
    """Returns the recordings on both sides of a fold.

    Args:
        split: Split directory.
        fold: Validation fold.
        workspace: Workspace that holds the artefacts.
        store: Feature directory that holds the strips; None: that of the split's catalogue.
        background: Directory of the background for the features in `store`; None: there is none.

    Raises:
        ValueError: If the split has no such fold, or the feature directory lacks strips of its recordings.
    """
    catalogue = split_catalogue(split, workspace)
    species = read_species(catalogue)["label"].tolist()
    recordings = read_labelled_recordings(split, catalogue)
    validated = (recordings["fold"] == fold).to_numpy()
    if fold < 0 or not validated.any():
        folds = sorted(set(recordings.loc[is_validated(recordings["fold"]), "fold"]))
        raise ValueError(f"{split} has no fold {fold}; it has folds {folds}.")
    if store is None:
        store = feature_directory(catalogue, workspace)
    elif names := recordings.loc[~recordings["sha256"].isin(list(StripStore(store).strips)), "recording_id"].tolist():
        raise ValueError(
            f"{store.path} lacks the strips of recordings of the split: {len(names)}, {names[0]} among them. Its front "
            "end could not use these recordings: see the reasons in quarantine.csv of its catalogue, and remove the "
            "recordings from the table."
        )
    features = read_features(read_provenance(store.path)["config"])
    trained = is_trained_on(recordings["fold"], fold).to_numpy()
    train, validation = (recordings[side].reset_index(drop=True) for side in (trained, validated))
    noise = Background.read(background, workspace) if background else None
    return FoldData(train, validation, species, features, store, noise)
