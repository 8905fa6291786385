"""Tables of a catalogue written by hand and read back."""

from pathlib import Path

import numpy as np
import pytest

from cache.recordings.catalogue_tables import (
    feature_directory,
    read_catalogue,
    read_duplicates,
    read_quarantine,
    read_species,
)
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """With names that look like numbers or like nothing."""
    tables = {
        "recordings.csv": "recording_id,label,recordist,sha256,frames,seconds,sound\n007,NA,,1e3,50,0.8,007\n",
        "species.csv": "label,scientific_name,common_name,recordings\nNA,Nan nullus,None,1\n",
        "quarantine.csv": "recording_id,label,sha256,reason,detail\n1e5,NA,00,silent,\n",
        "duplicates.csv": (
            "recording_id,other_recording_id,label,other_label,why,lag_seconds,overlap_seconds,similarity\n"
            "007,008,NA,NA,same bytes,,,\n007,009,NA,nan,same sound,-0.5,3,0.9\n"
        ),
    }

    def write(staging: Path) -> None:
        for name, content in tables.items():
            (staging / name).write_text(content)

    return Workspace(tmp_path).materialise(Recipe("catalogues", {}, {"features": "f" * 16}, 1), write)


def test_names_stay_text_and_lengths_are_numbers(catalogue: Path) -> None:
    (recording,) = read_catalogue(catalogue).to_dict(orient="records")
    assert recording == {
        "recording_id": "007",
        "label": "NA",
        "recordist": "",
        "sha256": "1e3",
        "frames": 50,
        "seconds": 0.8,
        "sound": "007",
    }
    (species,) = read_species(catalogue).to_dict(orient="records")
    assert species == {"label": "NA", "scientific_name": "Nan nullus", "common_name": "None", "recordings": 1}
    assert read_quarantine(catalogue).to_numpy().tolist() == [["1e5", "NA", "00", "silent", ""]]


def test_pair_of_the_same_bytes_has_no_lag(catalogue: Path) -> None:
    pairs = read_duplicates(catalogue)
    assert pairs["other_label"].tolist() == ["NA", "nan"]
    np.testing.assert_array_equal(pairs["lag_seconds"], [np.nan, -0.5])
    np.testing.assert_array_equal(pairs["similarity"], [np.nan, 0.9])


def test_catalogue_leads_to_the_features_that_it_was_made_from(catalogue: Path, tmp_path: Path) -> None:
    assert feature_directory(catalogue, Workspace(tmp_path)).path == tmp_path / "features" / ("f" * 16)
