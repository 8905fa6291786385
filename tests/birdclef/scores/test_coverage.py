"""Expected reasons follow from tables written by hand, beside the quarantine of tests/conftest.py."""

from pathlib import Path

import pandas as pd
import pytest

from birdclef.scores.coverage import describe_coverage, describe_overlap, describe_quarantine
from birdclef.scores.lineage import Lineage
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace


def make_split(folder: Path, **settings: object) -> Path:
    recipe = Recipe("splits", {"fold_column": None, "test_share": 0.0, **settings}, {}, 1)
    return Workspace(folder).materialise(recipe, lambda staging: None)


def test_species_that_are_not_scored_get_the_reason_that_applies(evaluation_catalogue: Path, tmp_path: Path) -> None:
    catalogue = pd.DataFrame(
        {"label": ["abbowl", "barwre", "cdove", "cdove", "eremit"], "fold": [0, 0, 1, 2, -1]},
        index=["r1", "r2", "r3", "r4", "r5"],
    )
    species = pd.DataFrame({"label": ["abbowl", "barwre", "cdove", "eremit"]})
    lineage = Lineage((), make_split(tmp_path), evaluation_catalogue, FeatureDirectory(Path("unused")))
    coverage = describe_coverage(catalogue, catalogue.loc[["r1", "r2"]], species, lineage)
    assert coverage["species_not_scored"] == [
        {"label": "cdove", "why": "it is validated in folds that the members were not trained for"},
        {
            "label": "eremit",
            "why": "too few groups of usable recordings to spread over folds, so it is always in training",
        },
        {"label": "lostlark", "why": "all its recordings are quarantined"},
    ]
    assert [coverage[name] for name in ("recordings", "recordings_usable", "recordings_scored")] == [9, 5, 2]
    assert [coverage[name] for name in ("species", "species_scored")] == [5, 2]


@pytest.mark.parametrize(
    ("settings", "fold", "why"),
    [
        (
            {"fold_column": "fold"},
            -1,
            "the table's column of folds puts its usable recordings into one fold or",
        ),
        ({"test_share": 0.25}, -2, "recordings of it are held out (split.test_share)"),
    ],
    ids=str,
)
def test_reason_is_that_of_the_splits_settings(
    settings: dict[str, object], fold: int, why: str, evaluation_catalogue: Path, tmp_path: Path
) -> None:
    catalogue = pd.DataFrame({"label": ["wren", "robin", "robin"], "fold": [0, -1, fold]}, index=["r1", "r2", "r3"])
    species = pd.DataFrame({"label": ["wren", "robin"]})
    lineage = Lineage((), make_split(tmp_path, **settings), evaluation_catalogue, FeatureDirectory(Path("unused")))
    reasons = describe_coverage(catalogue, catalogue.loc[["r1"]], species, lineage)["species_not_scored"]
    assert reasons[0]["label"] == "robin"
    assert reasons[0]["why"].startswith(why)


@pytest.mark.parametrize(
    ("group_by", "authors", "numbers", "told", "resampled"),
    [
        ("recordist", "anna", (1, 0, 0), "by the same recordist, as far as", "recordists, and recordings without"),
        ("recording", "anna", (1, 1, 0), "For 1 of 2 scored recordings (50 %), the models were", "recordings"),
        ("recordist", "", (0, 0, 0), "nobody can tell", "recordings, because no recordist is known"),
        (
            "site",
            "anna",
            (1, 1, 1),
            "scored recordings with a copy in training: 1.",
            "groups of recordings with the same site",
        ),
    ],
)
def test_overlap_is_that_of_the_scored_recordings(
    group_by: str, authors: str, numbers: tuple[int, int, int], told: str, resampled: str, tmp_path: Path
) -> None:
    leaks, copies = numbers[1:]
    catalogue = pd.DataFrame(
        {
            "recording_id": ["r1", "r2", "r3", "r4"],
            "label": ["a", "a", "a", "b"],
            "recordist": [authors, "", authors if leaks else "bert", authors],
            "sound": ["r1", "r2", "r3", "r1" if copies else "r4"],
            "fold": [0, 0, 1, 1],
        }
    )
    split = Workspace(tmp_path).materialise(Recipe("splits", {"group_by": group_by}, {}, 1), lambda staging: None)
    lineage = Lineage((), split, tmp_path, FeatureDirectory(tmp_path))
    overlap = describe_overlap(catalogue, catalogue[:2], lineage)
    assert overlap["recordings"] == 2
    counts = ("recordist_known", "same_recordist_and_species", "same_sound")
    assert tuple(overlap[name] for name in counts) == numbers
    assert told in overlap["sentences"]
    assert overlap["resampled"].startswith(resampled)


def test_quarantine_is_counted_by_reason_and_listed(evaluation_catalogue: Path) -> None:
    quarantine = describe_quarantine(evaluation_catalogue)
    assert quarantine["count"] == len(quarantine["recordings"]) == 4
    assert quarantine["by_reason"] == {"undecodable": 2, "too_short": 1, "silent": 1}
