"""One fold of a split: the recordings on its two sides and the strips behind them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cache.artefact import read_provenance
from cache.catalogue import feature_directory, read_catalogue, read_species
from cache.config import FeatureConfig
from cache.split import read_split


@dataclass(frozen=True)
class FoldData:
    """The two sides of a fold.

    Attributes:
        train: recording_id, label, label_index, sha256, ... of the training side.
        validation: The same of the validation side.
        species: Species codes in the order of class indices.
        features: How the strips were made.
        store: Feature directory that holds the strips.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    species: list[str]
    features: FeatureConfig
    store: Path

    def clip_frames(self, seconds: float) -> int:
        """Returns the frames of a crop of some seconds."""
        return max(1, round(seconds * self.features.frames_per_second))


def read_fold(split: Path, fold: int, workspace: Path) -> FoldData:
    """Returns the recordings on both sides of a fold.

    Raises:
        ValueError: If the split has no such fold.
    """
    catalogue = workspace / "catalogues" / str(read_provenance(split)["inputs"]["catalogue"])
    store = feature_directory(catalogue, workspace)
    species = read_species(catalogue)["label"].tolist()
    folds = read_split(split).set_index("recording_id")["fold"]
    recordings = read_catalogue(catalogue)
    recordings["label_index"] = recordings["label"].map({label: index for index, label in enumerate(species)})
    validated = (recordings["recording_id"].map(folds) == fold).to_numpy()
    if not validated.any():
        raise ValueError(f"{split} has no fold {fold}; it has folds {sorted(set(folds) - {-1})}.")
    features = FeatureConfig(**read_provenance(store)["config"])
    train, validation = (recordings[side].reset_index(drop=True) for side in (~validated, validated))
    return FoldData(train, validation, species, features, store)
