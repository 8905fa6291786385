"""Folds of drawn tables, in which nothing shared may cross, and of tables that fill by hand."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from recording_tables import make_table, random_tables, spread_table, well_spread

from cache.config.split import SplitConfig
from cache.folds.assignment import assign_folds, check_table, settle_folds
from cache.folds.groups import PINNED_FOLD, TEST_FOLD, is_trained_on


@settings(deadline=None, max_examples=50)
@given(random_tables())
def test_nothing_shared_crosses_folds_and_every_validated_species_is_trained(
    drawn: tuple[pd.DataFrame, SplitConfig],
) -> None:
    table, config = drawn
    split = assign_folds(table, config)
    assert list(split["recording_id"]) == list(table["recording_id"])
    assert list(split["label"]) == list(table["label"])
    assert set(split["fold"]) <= {PINNED_FOLD, *range(config.folds)}
    assert list(split["pinned"]) == list(split["fold"] == PINNED_FOLD)
    folds_of_pair: dict[tuple[str, str], set[int]] = {}
    folds_of_audio: dict[str, set[int]] = {}
    for row, fold in enumerate(split["fold"]):
        if table["recordist"][row]:
            folds_of_pair.setdefault((table["recordist"][row], table["label"][row]), set()).add(fold)
        folds_of_audio.setdefault(table["sound"][row], set()).add(fold)
    assert all(len(folds) == 1 for folds in folds_of_pair.values())
    assert all(len(folds) == 1 for folds in folds_of_audio.values())
    for fold in range(config.folds):
        validated = set(split.loc[split["fold"] == fold, "label"])
        trained = set(split.loc[split["fold"] != fold, "label"])
        assert "common" in validated
        assert validated <= trained


def test_singleton_species_is_pinned_to_training() -> None:
    table = pd.concat([well_spread(), make_table([("rare", "solo")]).assign(recording_id="rare", sound="rare")])
    split = assign_folds(table.reset_index(drop=True), SplitConfig()).set_index("recording_id")
    assert split.loc["rare", "fold"] == -1
    assert split.loc["rare", "pinned"]
    assert (split.drop("rare")["fold"] >= 0).all()


def test_species_of_one_recordist_is_pinned_with_all_its_recordings() -> None:
    own = make_table([("rare", "ann3")] * 6).assign(
        recording_id=[f"rare{row}" for row in range(6)], sound=[f"rare{row}" for row in range(6)]
    )
    table = pd.concat([well_spread(), own]).reset_index(drop=True)
    split = assign_folds(table, SplitConfig())
    assert (split.loc[table["label"] == "rare", "fold"] == PINNED_FOLD).all()
    others = split[(table["recordist"] == "ann3") & (table["label"] != "rare")]
    assert (others["fold"] >= 0).all()
    assert others["fold"].nunique() == 1


def test_species_whose_groups_meet_in_one_fold_is_pinned() -> None:
    table = make_table([(label, f"ann{row}") for row, label in enumerate("aabbcc")])
    table.loc[5, "sound"] = table.loc[0, "sound"]
    earlier = np.array([0, 0, 0, 1, 1, 0])
    split = assign_folds(table, SplitConfig(folds=2), earlier)
    # a is in fold 0 only; c with the sound of a goes with it, so that c is in fold 1 only, but always trained as well
    assert list(split["fold"]) == [PINNED_FOLD, PINNED_FOLD, 0, 1, 1, PINNED_FOLD]


@pytest.mark.parametrize("seed", range(5))
def test_one_of_three_species_that_three_recordists_share_is_pinned_in_two_folds(seed: int) -> None:
    # two of the three recordists must share a fold, and so the species that both recorded has no other fold
    shared = [("x", "ann"), ("y", "ann"), ("x", "bob"), ("z", "bob"), ("y", "cy"), ("z", "cy")]
    table = make_table(shared + [("common", f"own{row}") for row in range(6)])
    split = assign_folds(table, SplitConfig(folds=2, seed=seed))
    assert set(split.loc[split["pinned"], "label"]) & {"x", "y", "z"}
    for fold in range(2):
        validated = set(split.loc[split["fold"] == fold, "label"])
        assert "common" in validated
        assert validated <= set(split.loc[split["fold"] != fold, "label"])


def test_split_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    table = well_spread()
    first = assign_folds(table, SplitConfig(seed=1))
    pd.testing.assert_frame_equal(assign_folds(table, SplitConfig(seed=1)), first)
    assert list(assign_folds(table, SplitConfig(seed=2))["fold"]) != list(first["fold"])


def test_folds_of_a_well_spread_table_are_stratified() -> None:
    split = assign_folds(well_spread(species=4, recordists=10, each=2), SplitConfig(folds=5))
    assert Counter(zip(split["fold"], split["label"], strict=True)) == {
        (fold, f"s{species}"): 4 for fold in range(5) for species in range(4)
    }


def test_group_is_named_by_its_first_recording() -> None:
    table = well_spread(species=2, recordists=4, each=1)  # r000 ... r003 are s0 by ann0 ... ann3, r004 ... are s1
    split = assign_folds(table, SplitConfig(folds=2))
    assert list(split["group"]) == ["r000", "r001", "r002", "r003"] * 2


@pytest.mark.parametrize(
    ("recordists", "told"),
    [
        (1, r"species with more than one recordist, .* Set split\.group_by=recording, or"),
        (2, r"5 groups .* only 2\. .*Set split\.folds=2 or"),
        (4, r"5 groups .* only 4\. .*Set split\.folds=4 or"),
    ],
)
def test_fewer_groups_than_folds_are_refused(recordists: int, told: str) -> None:
    with pytest.raises(ValueError, match=rf"^split\.folds=5 needs {told}"):
        assign_folds(well_spread(recordists=recordists), SplitConfig(folds=5))


def test_species_with_fewer_recordings_than_folds_alone_are_refused_with_a_remedy() -> None:
    table = make_table([(f"s{row % 8}", f"ann{row}") for row in range(16)])
    with pytest.raises(
        ValueError,
        match=r"^split\.folds=3 needs a species with 3 .* more than 2\. Set split\.folds=2 or split\.folds=auto,",
    ):
        assign_folds(table, SplitConfig(folds=3))


def test_folds_that_a_message_names_work_even_if_groups_and_species_allow_different_numbers() -> None:
    # six recordists, but no species with more than three recordings
    table = make_table([(f"s{row % 4}", f"ann{row % 6}") for row in range(12)])
    with pytest.raises(ValueError, match=r"needs 7 groups .* only 6\. .*Set split\.folds=3 or split\.folds=auto,"):
        assign_folds(table, SplitConfig(folds=7))
    assert set(assign_folds(table, SplitConfig(folds=3))["fold"]) == {0, 1, 2}


def test_table_that_cannot_be_spread_is_refused_by_labels_and_recordists_alone() -> None:
    table = make_table([(f"s{row % 8}", f"ann{row}") for row in range(16)]).drop(columns=["sound", "seconds"])
    check_table(table, SplitConfig(folds=2))
    check_table(table, SplitConfig(folds="auto"))
    with pytest.raises(ValueError, match=r"^split\.folds=3 needs a species with 3 .* Set split\.folds=2 or"):
        check_table(table, SplitConfig(folds=3))
    with pytest.raises(ValueError, match=r"^split\.test_share=0\.2 needs .* Set split\.test_share=0\.5, or"):
        check_table(table, SplitConfig(folds=2, test_share=0.2))
    with pytest.raises(ValueError, match=r"^split\.folds=2 needs .* by one recordist\. Set split\.group_by=recording,"):
        check_table(table.assign(recordist="ann"), SplitConfig(folds="auto"))
    with pytest.raises(ValueError, match=r"split\.group_by='site': the table of recordings has no such column"):
        check_table(table, SplitConfig(folds=2, group_by="site"))


def test_given_folds_are_checked_before_sounds_are_known() -> None:
    table = spread_table().drop(columns=["sound", "seconds"])
    check_table(table, SplitConfig(folds=3, fold_column="fold"))
    with pytest.raises(ValueError, match=r"no recording of fold 3\."):
        check_table(table, SplitConfig(folds=4, fold_column="fold"))


@given(random_tables())
@settings(max_examples=25, deadline=None)
def test_a_table_that_is_refused_early_would_be_refused_later(data: tuple[pd.DataFrame, SplitConfig]) -> None:
    table, config = data[0], data[1].model_copy(update={"folds": 3 * data[1].fold_count})
    try:
        check_table(table.drop(columns=["sound", "seconds"]), config)
    except ValueError as refusal:
        with pytest.raises(ValueError, match=re.escape(str(refusal).split(" needs ")[0])):
            assign_folds(table, config)


@pytest.mark.parametrize(
    ("recordists", "each", "expected"),
    [(9, 1, 5), (5, 1, 5), (4, 1, 4), (3, 2, 3), (2, 1, 2), (1, 3, 2)],  # of each species, groups and takes in one
)
def test_auto_is_the_largest_number_up_to_five_that_works(recordists: int, each: int, expected: int) -> None:
    table = well_spread(species=3, recordists=recordists, each=each)
    settled = settle_folds(table, SplitConfig(folds="auto"))
    assert settled == SplitConfig(folds=expected)
    if recordists > 1:
        assert set(assign_folds(table, settled)["fold"]) == set(range(expected))
        if expected < 5:
            with pytest.raises(ValueError, match=rf"Set split\.folds={expected} or"):
                assign_folds(table, SplitConfig(folds=expected + 1))


def test_auto_takes_the_number_of_the_given_folds_and_leaves_the_held_out_part_aside() -> None:
    table = spread_table()
    assert settle_folds(table, SplitConfig(folds="auto", fold_column="fold")).folds == 3
    few = well_spread(species=2, recordists=4, each=1)
    held_out = SplitConfig(folds="auto", test_share=0.5)
    assert settle_folds(few, held_out).folds == 2  # two of four recordists are left
    assert set(assign_folds(few, settle_folds(few, held_out))["fold"]) == {TEST_FOLD, 0, 1}


def test_no_group_of_a_column_crosses_folds() -> None:
    table = spread_table()
    split = assign_folds(table, SplitConfig(folds=3, group_by="site"))
    assert split.groupby(table["site"])["fold"].nunique().max() == 1


def test_given_folds_are_honoured() -> None:
    table = spread_table()
    table.loc[:4, "table_fold"] = "-1"
    split = assign_folds(table, SplitConfig(folds=3, fold_column="fold"))
    assert list(split["fold"].astype(str)) == list(table["table_fold"])
    assert list(split.index[split["pinned"]]) == [0, 1, 2, 3, 4]


def test_species_in_one_given_fold_alone_is_only_trained_on() -> None:
    table = spread_table()
    label = table["label"].iloc[0]
    table.loc[table["label"] == label, "table_fold"] = "1"
    split = assign_folds(table, SplitConfig(folds=3, fold_column="fold"))
    other = table["label"] != label
    assert set(split.loc[~other, "fold"]) == {-1}
    assert list(split.loc[other, "fold"].astype(str)) == list(table.loc[other, "table_fold"])


def test_given_fold_of_which_nothing_is_left_is_told() -> None:
    table = spread_table()
    alone = table["label"] == table["label"].iloc[0]
    table.loc[alone, "table_fold"], table.loc[~alone, "table_fold"] = "2", (["0", "1"] * len(table))[: sum(~alone)]
    with pytest.raises(
        ValueError, match=r"Fold 2 of split\.fold_column='fold' holds only species that lie in no other"
    ):
        check_table(table, SplitConfig(folds=3, fold_column="fold"))  # before features are computed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["3", "x", ""], r"something else \(0000 \('3'\), 0001 \('x'\), 0002 \(''\); recordings concerned: 3\)"),
        (["0.5"], r"something else \(0000 \('0.5'\); recordings concerned: 1\)"),
        (["inf", "-2"], r"something else \(0000 \('inf'\), 0001 \('-2'\); recordings concerned: 2\)"),
    ],
)
def test_given_folds_that_are_none_are_named(given: list[str], message: str) -> None:
    table = spread_table()
    table.loc[: len(given) - 1, "table_fold"] = given
    with pytest.raises(ValueError, match=message):
        assign_folds(table, SplitConfig(folds=3, fold_column="fold"))


def test_given_folds_must_fill_every_fold() -> None:
    with pytest.raises(ValueError, match=r"no recording of fold 3\."):
        assign_folds(spread_table(), SplitConfig(folds=4, fold_column="fold"))
    with pytest.raises(ValueError, match=r"split\.fold_column='part': the table of recordings has no such column"):
        assign_folds(spread_table(), SplitConfig(folds=4, fold_column="part"))


@pytest.mark.parametrize(
    ("first", "absent"),
    [
        (2023, r"no recording of fold 0, 1, 2 and 2020 others\. Correct the table"),
        (20_250_101, r"no recording of fold 0, 1, 2 and 20250098 others\."),
        (2, r"no recording of fold 0, 1\."),
    ],
)
def test_column_that_counts_no_folds_is_told_with_examples(first: int, absent: str) -> None:
    """Three values follow each other: of `first` absent folds the message names three."""
    table = spread_table()
    table["table_fold"] = [str(first + row % 3) for row in range(len(table))]
    with pytest.raises(ValueError, match=absent) as refused:
        check_table(table, SplitConfig(folds="auto", fold_column="fold"))
    assert len(str(refused.value)) < 350


@pytest.mark.parametrize(("given", "folds"), [(["7"], 8), (["inf", "7"], 8), (["", "x"], 3), (["-1"], 3)])
def test_automatic_number_of_given_folds_is_one_more_than_the_last(given: list[str], folds: int) -> None:
    table = spread_table()
    table.loc[: len(given) - 1, "table_fold"] = given
    assert settle_folds(table, SplitConfig(folds="auto", fold_column="fold")).folds == folds


def test_test_part_is_held_out_by_group_and_leaves_every_species_in_training() -> None:
    table = spread_table()
    table.loc[:, "label"] = table["label"].where(table.index != 7, "rare")  # one recording only
    split = assign_folds(table, SplitConfig(folds=3, test_share=0.2))
    held_out = split["fold"] == TEST_FOLD
    assert 0.12 < held_out.mean() < 0.28
    assert not set(table.loc[held_out, "recordist"]) & set(table.loc[~held_out & ~split["pinned"], "recordist"])
    assert split.loc[7, "fold"] == PINNED_FOLD
    for fold in range(3):
        trained = is_trained_on(split["fold"], fold)
        assert not (trained & held_out).any()
        assert set(split.loc[trained, "label"]) == set(table["label"])
