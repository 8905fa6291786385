"""Expected sides are read from the split's and the catalogue's own tables."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from birdclef.strips.fold import read_fold, read_labelled_recordings
from cache.store.strip_store import StripStore
from cache.workspace.workspace import Workspace


def read_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_sides_are_disjoint_and_complete(evaluation_split: Path, evaluation_workspace: Path, fold: int) -> None:
    data = read_fold(evaluation_split, fold, Workspace(evaluation_workspace))
    table = read_table(evaluation_split / "split.csv")
    train, validation = set(data.train["recording_id"]), set(data.validation["recording_id"])
    assert validation == set(table.loc[table["fold"] == str(fold), "recording_id"])
    assert not train & validation
    assert train | validation == set(table["recording_id"])
    assert len(data.train) + len(data.validation) == 140
    assert data.train.index.tolist() == list(range(len(data.train)))
    assert data.validation.index.tolist() == list(range(len(data.validation)))


def test_each_free_recording_is_validated_once(evaluation_split: Path, evaluation_workspace: Path) -> None:
    validated = [read_fold(evaluation_split, fold, Workspace(evaluation_workspace)).validation for fold in range(3)]
    names = pd.concat(validated)["recording_id"]
    assert len(names) == names.nunique() == 137


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_pinned_recordings_are_always_in_training(
    evaluation_split: Path, evaluation_workspace: Path, fold: int
) -> None:
    data = read_fold(evaluation_split, fold, Workspace(evaluation_workspace))
    pinned = data.train[data.train["fold"] == -1]
    assert pinned["recording_id"].tolist() == ["eremit/000.ogg", "eremit/001.ogg", "eremit/002.ogg"]


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_no_group_stands_on_both_sides(evaluation_split: Path, evaluation_workspace: Path, fold: int) -> None:
    data = read_fold(evaluation_split, fold, Workspace(evaluation_workspace))
    assert not set(data.train["group"]) & set(data.validation["group"])
    assert not set(data.train["recordist"]) & set(data.validation["recordist"])


@pytest.mark.parametrize("fold", [-1, 3])
def test_fold_that_the_split_lacks_is_refused(evaluation_split: Path, evaluation_workspace: Path, fold: int) -> None:
    with pytest.raises(ValueError, match=rf"has no fold {fold}; it has folds \[0, 1, 2\]"):
        read_fold(evaluation_split, fold, Workspace(evaluation_workspace))


def test_label_index_counts_the_species_in_order(evaluation_split: Path, evaluation_workspace: Path) -> None:
    data = read_fold(evaluation_split, 0, Workspace(evaluation_workspace))
    assert data.species == ["abbowl", "barwre", "cdove", "d|<i>finch", "eremit"]
    for side in (data.train, data.validation):
        assert side["label_index"].dtype == np.int64
        assert [data.species[index] for index in side["label_index"]] == side["label"].tolist()


def test_recordings_are_sorted_and_carry_fold_and_group(evaluation_split: Path, evaluation_catalogue: Path) -> None:
    recordings = read_labelled_recordings(evaluation_split, evaluation_catalogue)
    names = recordings["recording_id"].tolist()
    assert names == sorted(names)
    table = read_table(evaluation_split / "split.csv").set_index("recording_id").loc[names]
    assert recordings["fold"].tolist() == table["fold"].astype(int).tolist()
    assert recordings["group"].tolist() == table["group"].tolist()
    assert recordings["label"].tolist() == table["label"].tolist()


def test_strips_of_both_sides_are_in_the_store(evaluation_split: Path, evaluation_workspace: Path) -> None:
    data = read_fold(evaluation_split, 1, Workspace(evaluation_workspace))
    store = StripStore(data.store)
    frames = pd.concat([data.train, data.validation]).set_index("sha256")["frames"]
    assert {sha256: len(store.read(sha256)) for sha256 in frames.index[:20]} == frames[:20].to_dict()
    recorded = json.loads((data.store.path / "provenance.json").read_text())["config"]
    assert data.features.identity() == recorded
