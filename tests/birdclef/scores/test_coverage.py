"""Expected reasons follow from tables written by hand, beside the quarantine of tests/conftest.py."""

from pathlib import Path

import pandas as pd

from birdclef.scores.coverage import describe_coverage, describe_quarantine
from birdclef.scores.lineage import Lineage
from cache.workspace.feature_directory import FeatureDirectory


def test_species_that_are_not_scored_get_the_reason_that_applies(evaluation_catalogue: Path) -> None:
    catalogue = pd.DataFrame(
        {"label": ["abbowl", "barwre", "cdove", "cdove", "eremit"], "fold": [0, 0, 1, 2, -1]},
        index=["r1", "r2", "r3", "r4", "r5"],
    )
    species = pd.DataFrame({"label": ["abbowl", "barwre", "cdove", "eremit"]})
    nowhere = Path("unused")
    lineage = Lineage((), nowhere, evaluation_catalogue, FeatureDirectory(nowhere))
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


def test_quarantine_is_counted_by_reason_and_listed(evaluation_catalogue: Path) -> None:
    quarantine = describe_quarantine(evaluation_catalogue)
    assert quarantine["count"] == len(quarantine["recordings"]) == 4
    assert quarantine["by_reason"] == {"undecodable": 2, "too_short": 1, "silent": 1}
