"""Reads the table of a split."""

from pathlib import Path

import pandas as pd

from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace


def split_catalogue(split: Path, workspace: Workspace) -> Path:
    """Returns the catalogue that a split was made from."""
    return workspace.artefact("catalogues", read_provenance(split)["inputs"]["catalogue"])


def read_split(directory: Path) -> pd.DataFrame:
    """Returns the table of a split: recording_id, label, fold (-1: always in training, -2: held out), group, pinned."""
    table = pd.read_csv(directory / "split.csv", dtype=str, keep_default_na=False)
    return table.assign(fold=table["fold"].astype("int64"), pinned=table["pinned"] == "True")
