"""What scored recordings share with training, counted by a plain loop, and the sentences that it gives."""

from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_tables import make_table, random_tables

from cache.config.split import SplitConfig
from cache.folds.groups import PINNED_FOLD, TEST_FOLD
from cache.folds.overlap import Overlap, count_leaks, measure_overlap, name_groups


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


def brute_force_leaks(table: pd.DataFrame, fold: np.ndarray) -> tuple[int, int]:
    """Pairs (recordist, species) on both sides, and validation recordings that share one with training."""
    pairs, leaking = set(), 0
    for i, validated in enumerate(fold):
        leaks = False
        for j, trained in enumerate(fold):
            same = table["label"][i] == table["label"][j] and table["recordist"][i] == table["recordist"][j] != ""
            if same and validated >= 0 and trained not in (validated, TEST_FOLD):
                pairs.add((table["recordist"][i], table["label"][i]))
                leaks = True
        leaking += leaks
    return len(pairs), leaking


@settings(deadline=None, max_examples=40)
@given(random_tables(), st.integers(0, 2**32 - 1))
def test_leaks_are_those_of_a_double_loop(drawn: tuple[pd.DataFrame, SplitConfig], seed: int) -> None:
    table, config = drawn
    fold = np.random.default_rng(seed).integers(TEST_FOLD, config.folds, len(table))
    pairs, leaking = brute_force_leaks(table, fold)
    leaks = count_leaks(table, fold)
    assert leaks["shared_pairs"] == pairs
    assert leaks["leaking_recordings"] == leaking
    assert leaks["leaking_share"] == pytest.approx(leaking / max((fold >= 0).sum(), 1), abs=1e-4)


def test_leaks_of_a_small_table_by_hand() -> None:
    table = make_table(
        [("a", "ann"), ("a", "ann"), ("a", "ann"), ("b", "ann"), ("a", "bob"), ("a", ""), ("a", ""), ("b", "cy")]
    )
    fold = np.array([0, 0, 1, 2, 1, 0, 1, PINNED_FOLD])
    # (ann, a) stands in folds 0 and 1: three recordings leak, of seven validated; the unknown recordist is no pair
    assert count_leaks(table, fold) == {
        "shared_pairs": 1,
        "leaking_recordings": 3,
        "leaking_share": 0.4286,
        "shared_sounds": 0,
    }


def test_pair_in_validation_and_always_in_training_leaks_once() -> None:
    table = make_table([("a", "ann"), ("a", "ann"), ("b", "bob")])
    assert count_leaks(table, np.array([PINNED_FOLD, 0, 1])) == {
        "shared_pairs": 1,
        "leaking_recordings": 1,
        "leaking_share": 0.5,
        "shared_sounds": 0,
    }


def test_sound_in_validation_and_training_is_counted_and_held_out_ones_are_not() -> None:
    table = make_table([("a", "ann"), ("a", "bob"), ("b", "cy"), ("b", "di"), ("c", "ed"), ("c", "flo")])
    table["sound"] = ["x", "x", "y", "y", "z", "z"]
    assert count_leaks(table, np.array([0, 1, 1, 1, TEST_FOLD, 0]))["shared_sounds"] == 1
    assert count_leaks(table, np.array([0, PINNED_FOLD, 1, 0, 0, 0]))["shared_sounds"] == 2


def test_nothing_validated_leaks_nothing() -> None:
    table = make_table([("a", "ann"), ("a", "ann")])
    assert count_leaks(table, np.array([PINNED_FOLD, PINNED_FOLD])) == {
        "shared_pairs": 0,
        "leaking_recordings": 0,
        "leaking_share": 0.0,
        "shared_sounds": 0,
    }
