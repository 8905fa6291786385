"""Numbers of folds that groups allow, by hand."""

import numpy as np
import pytest

from cache.folds.fold_count import allowed_folds, check_folds, check_species, single_group_species

LABELS = np.array(["a", "a", "a", "b", "b", "c"])


def test_species_of_one_group_are_found() -> None:
    assert single_group_species(LABELS, np.array([0, 0, 1, 2, 2, 3])).tolist() == [
        False,
        False,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ([0, 1, 2, 3, 4, 5], 3),  # five free groups, but no species has more than three recordings
        ([0, 1, 1, 0, 1, 2], 2),  # three recordings of a, but two groups
        ([0, 0, 0, 1, 2, 3], 2),  # b alone is free
        ([0, 0, 0, 1, 1, 2], 0),
    ],
)
def test_folds_need_as_many_groups_and_as_many_recordings_of_a_species(group: list[int], expected: int) -> None:
    groups = np.array(group)
    assert allowed_folds(LABELS, groups) == expected
    if expected:
        check_folds(LABELS, groups, expected, "split.folds", "recordist")
    with pytest.raises(ValueError, match=rf"^split\.folds={expected + 1} needs"):
        check_folds(LABELS, groups, expected + 1, "split.folds", "recordist")


@pytest.mark.parametrize(
    ("group_by", "remedy"),
    [
        (
            "recordist",
            "but all recordings are by one recordist. Set split.group_by=recording, or a column of the table ",
        ),
        ("recordist+place", "all recordings are by one recordist at one place. Set split.group_by=recording, or a "),
        (
            "site",
            "have the same 'site'. Set split.group_by=recording, or a column of the table such as a site, or add ",
        ),
        ("recording", "each species has one, or copies of one. Add recordings, so that a species has at least two."),
    ],
)
def test_one_group_of_all_recordings_is_told_with_the_remedy(group_by: str, remedy: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_folds(LABELS, np.zeros(6, np.int64), 2, "split.folds", group_by)
    assert remedy in str(refused.value)


def test_species_of_one_recordist_each_are_told() -> None:
    with pytest.raises(
        ValueError, match=r"but all recordings of each species are by one recordist\. Set split\.group_by"
    ):
        check_folds(LABELS, np.array([0, 0, 0, 1, 1, 2]), 2, "split.folds", "recordist")


def test_one_species_is_refused_because_it_is_heard_in_every_sound() -> None:
    check_species(np.array(["a", "rain"]))
    with pytest.raises(
        ValueError, match=r"^All recordings are of one species, a\. .* add recordings of another species"
    ):
        check_species(np.array(["a", "a"]))


def test_species_of_one_recording_each_need_more_recordings_whatever_the_grouping() -> None:
    with pytest.raises(ValueError, match=r"Add recordings by other recordists, so that a species has at least two\.$"):
        check_folds(np.array(["a", "b", "c"]), np.zeros(3, np.int64), 2, "split.folds", "recordist")
