"""What scored recordings share with training, counted by a plain loop, and the sentences that it gives."""

from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_tables import random_tables

from cache.config.split import SplitConfig
from cache.folds.groups import TEST_FOLD
from cache.folds.overlap import Overlap, measure_overlap, name_groups


@settings(deadline=None, max_examples=40)
@given(random_tables(), st.integers(0, 2**32 - 1))
def test_overlap_is_that_of_a_loop_over_all_pairs(drawn: tuple[pd.DataFrame, SplitConfig], seed: int) -> None:
    table, config = drawn
    fold = np.random.default_rng(seed).integers(TEST_FOLD, config.fold_count, len(table))
    scored = fold == 0
    rows = table.to_dict(orient="records")
    known = alike = copied = 0
    for own, place in zip(rows, fold, strict=True):
        if place != 0:
            continue
        trained = [other for other, where in zip(rows, fold, strict=True) if where not in (0, TEST_FOLD)]
        known += own["recordist"] != ""
        alike += own["recordist"] != "" and any(
            (other["recordist"], other["label"]) == (own["recordist"], own["label"]) for other in trained
        )
        copied += any(other["sound"] == own["sound"] for other in trained)
    assert astuple(measure_overlap(table, fold, scored)) == (int(scored.sum()), known, alike, copied)
    assert measure_overlap(table, fold).recordings == (fold >= 0).sum()


@pytest.mark.parametrize(
    ("overlap", "told"),
    [
        (Overlap(9, 9, 0, 0), "were not trained on any recording of that species by the same recordist. No copy"),
        (
            Overlap(9, 6, 0, 0),
            "by the same recordist, as far as recordists are known. Recordists are known for 6 of 9 recordings. No",
        ),
        (Overlap(9, 0, 0, 0), "nobody can tell whether the models were trained on recordings of that species by the"),
        (Overlap(100, 100, 71, 0), "For 71 of 100 scored recordings (71 %), the models were trained on recordings of"),
        (Overlap(1000, 900, 4, 0), "(less than 1 %)"),
        (Overlap(9, 9, 0, 2), "The scores are too high; scored recordings with a copy in training: 2."),
    ],
)
def test_sentences_say_what_the_counts_say(overlap: Overlap, told: str) -> None:
    assert told in overlap.describe()
    honest = overlap.recordist_known and not overlap.same_recordist_and_species
    assert ("were not trained on any recording of that species" in overlap.describe()) == bool(honest)
    assert ("too high" in overlap.describe()) == (not honest or overlap.same_sound > 0)


@pytest.mark.parametrize(
    ("group_by", "recordist", "named"),
    [
        ("recordist", ["anna", "bert"], "recordists"),
        ("recordist", ["anna", ""], "recordists, and recordings without a known recordist one by one"),
        ("recordist", ["", "unknown"], "recordings, because no recordist is known"),
        ("recordist+place", ["anna", "bert"], "recordists at each of their places"),
        ("recording", ["anna", "bert"], "recordings"),
        ("site", ["anna", "bert"], "groups of recordings with the same site"),
    ],
)
def test_groups_are_named_by_what_their_recordings_share(group_by: str, recordist: list[str], named: str) -> None:
    assert name_groups({"group_by": group_by}, pd.Series(recordist)) == named
