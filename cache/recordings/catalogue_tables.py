"""Reads the tables of a catalogue."""

from pathlib import Path

import pandas as pd

from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

_DUPLICATE_NAMES = ("recording_id", "other_recording_id", "label", "other_label", "why")


def read_catalogue(directory: Path) -> pd.DataFrame:
    """Returns the usable recordings: recording_id, label, secondary_labels, recordist, sha256, frames, seconds, ...

    The column `sound` holds the recording_id of the first recording with the same sound.
    """
    types = {"frames": "int64", "seconds": "float64"}
    table = pd.read_csv(directory / "recordings.csv", dtype=str, keep_default_na=False)
    return table.astype(types)


def read_species(directory: Path) -> pd.DataFrame:
    """Returns the species in the order of class indices: label, scientific_name, common_name, recordings."""
    table = pd.read_csv(directory / "species.csv", dtype=str, keep_default_na=False)
    return table.astype({"recordings": "int64"})


def read_quarantine(directory: Path) -> pd.DataFrame:
    """Returns the unusable recordings: recording_id, label, sha256, reason, detail."""
    return pd.read_csv(directory / "quarantine.csv", dtype=str, keep_default_na=False)


def read_duplicates(directory: Path) -> pd.DataFrame:
    """Returns the pairs of usable recordings that are likely to hold the same sound (`duplicates.find_duplicates`)."""
    numbers = ("lag_seconds", "overlap_seconds", "similarity")
    return pd.read_csv(
        directory / "duplicates.csv",
        dtype={**dict.fromkeys(_DUPLICATE_NAMES, str), **dict.fromkeys(numbers, float)},
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )


def feature_directory(catalogue: Path, workspace: Workspace) -> FeatureDirectory:
    """Returns the feature directory that holds the strips of a catalogue's recordings."""
    return workspace.feature_directory(read_provenance(catalogue)["inputs"]["features"])
