"""Folds of an earlier split, kept: expectations are loops over the groups, and counts by hand."""

from collections import Counter

import numpy as np
import pandas as pd
import sklearn.model_selection  # noqa: F401 - here, for its import draws from `random`, which no strategy may
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cache.config.split import SplitConfig
from cache.folds.assignment import assign_folds
from cache.folds.extension import UNASSIGNED, extend_folds
from cache.folds.groups import PINNED_FOLD, TEST_FOLD, group_recordings
from cache.folds.overlap import count_leaks

LEVEL = {0: 0.5, 1: 0.5}


def draw_recordings(generator: np.random.Generator, count: int, first: int) -> pd.DataFrame:
    """Long-tailed species by few recordists, one of them nobody, with sounds that some recordings share."""
    species = np.minimum(generator.geometric(0.3, count), 8)
    recordist = generator.integers(0, 14, count)
    sound = generator.integers(0, 3 * count, count)
    return pd.DataFrame(
        {
            "recording_id": [f"r{first + row:03}" for row in range(count)],
            "label": [f"s{index}" for index in species],
            "recordist": [f"ann{index}" if index else "" for index in recordist],
            "sound": [f"s{index}-{number}" for index, number in zip(species, sound, strict=True)],
            "seconds": generator.integers(1, 40, count).astype(float),
        }
    )


@st.composite
def changed_tables(draw: st.DrawFn) -> tuple[pd.DataFrame, np.ndarray, SplitConfig]:
    """A table of which some recordings were in a split with others that have vanished; new ones may join groups."""
    config = SplitConfig(
        folds=draw(st.integers(2, 4)), seed=draw(st.integers(0, 99)), test_share=draw(st.sampled_from([0, 0.25]))
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, added = draw(st.integers(1, 60)), draw(st.integers(0, 40))
    common = pd.DataFrame(
        {
            "recording_id": [f"c{row:02}" for row in range(40)],
            "label": "common",
            "recordist": [f"own{row}" for row in range(40)],
            "sound": [f"c{row:02}" for row in range(40)],
            "seconds": np.arange(40) + 0.5,
        }
    )
    old = pd.concat([common, draw_recordings(generator, count, 0)], ignore_index=True)
    try:
        split = assign_folds(old, config)
    except ValueError:
        assume(False)
    stays = generator.random(len(old)) > draw(st.sampled_from([0, 0.1, 0.5]))
    table = pd.concat([old[stays], draw_recordings(generator, added, count)], ignore_index=True)
    assume(table["label"].nunique() > 1)
    fold_of = dict(zip(split["recording_id"], split["fold"], strict=True))
    earlier = table["recording_id"].map(fold_of).fillna(UNASSIGNED).to_numpy(np.int64)
    order = generator.permutation(len(table))
    return table.iloc[order].reset_index(drop=True), earlier[order], config


def homes_of(known: Counter[int]) -> set[int]:
    """Returns the folds in which a group may lie that holds recordings of these earlier ones."""
    most = max(known.values(), default=0)
    return {TEST_FOLD} if TEST_FOLD in known else {fold for fold, count in known.items() if count == most}


@settings(deadline=None, max_examples=30)
@given(changed_tables())
def test_known_groups_stay_nothing_leaks_and_every_validated_species_is_trained(
    drawn: tuple[pd.DataFrame, np.ndarray, SplitConfig],
) -> None:
    table, earlier, config = drawn
    split = assign_folds(table, config, earlier)
    fold, labels = split["fold"].to_numpy(), table["label"].to_numpy()
    assert set(fold) <= {PINNED_FOLD, TEST_FOLD, *range(config.folds)}
    leaks = count_leaks(table, fold)
    assert (leaks["shared_pairs"], leaks["shared_sounds"]) == (0, 0)
    for validation in range(config.folds):
        trained = set(labels[(fold != validation) & (fold != TEST_FOLD)])
        assert set(labels[fold == validation]) <= trained
    homes: dict[str, set[int]] = {}
    groups = group_recordings(table)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        known = Counter(int(value) for value in earlier[rows] if value not in (UNASSIGNED, PINNED_FOLD))
        found = {int(value) for value in fold[rows] if value != PINNED_FOLD}
        assert len(found) <= 1
        assert found <= (homes_of(known) or found)
        for label in labels[rows]:
            homes.setdefault(label, set()).update(found or known if len(known) < 2 else found)
    for label in set(labels):  # nothing is pinned that two folds could share
        if (fold[labels == label] == PINNED_FOLD).any():
            assert len(homes[label] - {TEST_FOLD}) <= 1
    pd.testing.assert_frame_equal(assign_folds(table, config, earlier), split)


@settings(deadline=None, max_examples=30)
@given(changed_tables())
def test_recordings_that_all_are_known_stay_where_they_are(
    drawn: tuple[pd.DataFrame, np.ndarray, SplitConfig],
) -> None:
    table, _, config = drawn
    try:
        split = assign_folds(table, config)
    except ValueError:
        assume(False)
    again = assign_folds(table, config, split["fold"].to_numpy())
    unpinned = split["fold"] != PINNED_FOLD
    assert list(again["fold"][unpinned]) == list(split["fold"][unpinned])


def test_new_groups_level_every_species_over_the_folds() -> None:
    # a: 3 in fold 0 and 1 in fold 1; b: the reverse. Two new groups of each, and one that only the total can place
    labels = np.array(list("aaabbbba") + list("aabb"))
    group = np.array([0, 0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7])
    earlier = np.array([0, 0, 0, 0, 1, 1, 1, 1] + [UNASSIGNED] * 4)
    fold = extend_folds(labels, group, earlier, LEVEL, seed=0)
    assert list(fold[:8]) == list(earlier[:8])
    assert list(fold[8:]) == [1, 1, 0, 0]


def test_growth_of_a_level_table_stays_level() -> None:
    def table(recordists: range) -> pd.DataFrame:
        rows = [(f"s{species}", f"ann{name}") for name in recordists for species in range(4)]
        ids = [f"{recordist}-{label}" for label, recordist in rows]
        frame = pd.DataFrame(rows, columns=["label", "recordist"])
        return frame.assign(recording_id=ids, sound=ids, seconds=np.arange(len(rows)) + 1.0)

    config = SplitConfig(folds=5)
    old = assign_folds(table(range(10)), config)
    earlier = np.concatenate([old["fold"].to_numpy(), np.full(40, UNASSIGNED)])
    grown = assign_folds(table(range(20)), config, earlier)
    assert Counter(zip(grown["fold"], grown["label"], strict=True)) == {
        (fold, f"s{species}"): 4 for fold in range(5) for species in range(4)
    }


def test_held_out_share_is_kept_up() -> None:
    labels, group = np.repeat("a", 400), np.arange(400)
    earlier = np.concatenate([np.full(10, TEST_FOLD), np.repeat([0, 1], 45), np.full(300, UNASSIGNED)])
    fold = extend_folds(labels, group, earlier, {0: 0.45, 1: 0.45, TEST_FOLD: 0.1}, seed=0)
    assert Counter(fold.tolist()) == {0: 180, 1: 180, TEST_FOLD: 40}


def test_groups_that_a_new_recording_joins_move_to_the_fold_of_most() -> None:
    labels, group = np.repeat("a", 7), np.array([0, 0, 0, 0, 1, 1, 2])
    earlier = np.array([1, 1, 0, UNASSIGNED, 1, 1, 0])
    assert list(extend_folds(labels, group, earlier, LEVEL, seed=0)) == [1, 1, 1, 1, 1, 1, 0]


def test_what_was_held_out_stays_held_out_when_its_group_grows() -> None:
    labels, group = np.repeat("a", 6), np.array([0, 0, 0, 0, 1, 2])
    earlier = np.array([1, 1, 1, TEST_FOLD, 0, 1])
    shares = {0: 0.4, 1: 0.4, TEST_FOLD: 0.2}
    assert list(extend_folds(labels, group, earlier, shares, seed=0)) == [TEST_FOLD] * 4 + [0, 1]


def test_pinned_species_is_validated_once_it_has_another_recordist() -> None:
    old = pd.DataFrame(
        {
            "recording_id": [f"r{row:02}" for row in range(13)],
            "label": ["common"] * 12 + ["rare"],
            "recordist": [f"own{row}" for row in range(12)] + ["own0"],
        }
    )
    old = old.assign(sound=old["recording_id"], seconds=np.arange(13) + 1.0)
    config = SplitConfig(folds=3)
    before = assign_folds(old, config)
    assert before["fold"][12] == PINNED_FOLD
    home = before["fold"][0]
    news = [("rare", f"new{row}") for row in range(2)]
    new = pd.DataFrame(news, columns=["label", "recordist"]).assign(
        recording_id=["x0", "x1"], sound=["x0", "x1"], seconds=[90.0, 91.0]
    )
    table = pd.concat([old, new], ignore_index=True)
    after = assign_folds(table, config, np.append(before["fold"].to_numpy(), [UNASSIGNED] * 2))
    assert after["fold"][12] == home  # with the other recordings of its recordist
    assert sorted(after["fold"][12:]) == [0, 1, 2]


def test_species_that_lost_its_second_group_is_pinned() -> None:
    table = pd.DataFrame(
        {
            "recording_id": list("abcde"),
            "label": ["x", "common", "common", "common", "common"],
            "recordist": list("abcde"),
            "sound": list("abcde"),
            "seconds": [1.0, 2.0, 3.0, 4.0, 5.0],
        }
    )
    split = assign_folds(table, SplitConfig(folds=2), np.array([0, 0, 0, 1, 1]))
    assert list(split["fold"]) == [PINNED_FOLD, 0, 0, 1, 1]
