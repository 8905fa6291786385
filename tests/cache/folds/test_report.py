"""What a split's report counts, by hand."""

import json
import logging
from typing import Any

import pytest
from recording_tables import make_table

from cache.config.split import SplitConfig
from cache.folds.assignment import assign_folds
from cache.folds.report import log_split, report_split

CONFIG = SplitConfig(folds=4)


@pytest.fixture
def report() -> dict[str, Any]:
    """Of 12 recordists with three takes of each of two species, and a species of one recordist; read back from JSON."""
    rows = [(f"s{s}", f"ann{r}") for s in range(2) for r in range(12) for _ in range(3)]
    table = make_table([*rows, ("rare", "ann0")])
    read_back: dict[str, Any] = json.loads(json.dumps(report_split(table, assign_folds(table, CONFIG), CONFIG)))
    return read_back


def test_report_counts_what_the_split_did(report: dict[str, Any]) -> None:
    assert report["folds"] == 4
    assert report["groups"] == 12
    assert report["leak"] == {"shared_pairs": 0, "leaking_recordings": 0, "leaking_share": 0.0, "shared_sounds": 0}
    coverage = report["coverage"]
    assert (coverage["species"], coverage["species_validated"]) == (3, 2)
    assert coverage["species_never_validated"] == ["rare"]
    assert coverage["recordings_pinned"] == 1
    assert coverage["species_missing_per_fold"] == {"0": 1, "1": 1, "2": 1, "3": 1}
    assert report["recordings_per_fold"] == {"0": 18, "1": 18, "2": 18, "3": 18}
    assert report["class_counts_per_fold"]["s0"] == {"-1": 0, "0": 9, "1": 9, "2": 9, "3": 9}
    assert report["class_counts_per_fold"]["rare"] == {"-1": 1, "0": 0, "1": 0, "2": 0, "3": 0}


def test_report_shows_that_plain_stratified_folds_leak(report: dict[str, Any]) -> None:
    leak = report["plain_stratified"]["leak"]
    # three takes of a recordist and species stay together by chance only
    assert leak["shared_pairs"] > 12
    assert leak["leaking_recordings"] > 36
    assert leak["leaking_share"] == pytest.approx(leak["leaking_recordings"] / 73, abs=1e-4)


def test_own_folds_may_be_more_than_a_species_has_recordings() -> None:
    rows = [("a", "ann"), ("a", "ann"), ("b", "bob"), ("b", "bob")]
    table = make_table(rows, table_fold=["0", "1", "2", "3"])
    config = SplitConfig(folds=4, fold_column="fold")
    leak = report_split(table, assign_folds(table, config), config)["plain_stratified"]["leak"]
    assert leak["shared_pairs"] == 2  # both takes of a recordist lie in other folds


@pytest.mark.parametrize("copied", [False, True])
def test_copy_in_training_is_told_as_a_warning(copied: bool, caplog: pytest.LogCaptureFixture) -> None:
    table = make_table(
        [(label, f"{label}{number}") for label in "ab" for number in range(4)], table_fold=["0", "1"] * 4
    )
    if copied:  # two files by different recordists
        table.loc[1, "sound"] = table.loc[0, "sound"]
    config = SplitConfig(folds=2, fold_column="fold")
    with caplog.at_level(logging.INFO, logger="cache.folds.report"):
        log_split(report_split(table, assign_folds(table, config), config), config)
    (told,) = [record for record in caplog.records if "by the same recordist" in record.message]
    assert ("with a copy in training: 2" in told.message) == copied
    assert ("split.fold_column=fold" in told.message) == copied
    assert told.levelno == (logging.WARNING if copied else logging.INFO)


@pytest.mark.parametrize("others", [1, 2])
def test_one_validated_species_is_told_as_a_warning(others: int, caplog: pytest.LogCaptureFixture) -> None:
    table = make_table(
        [*[("a", f"ann{number}") for number in range(4)], *[("b", f"bob{n % others}") for n in range(4)]]
    )
    config = SplitConfig(folds=2)
    log_split(report_split(table, assign_folds(table, config), config), config)
    assert any("only one species is validated" in told for told in caplog.messages) == (others == 1)
