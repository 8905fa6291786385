"""Numbers of folds that groups allow, by hand."""

import numpy as np
import pytest

from cache.folds.fold_count import allowed_folds, check_folds, single_group_species

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
        ("recordist", "Add recordings by other recordists, or set split.group_by=recording."),
        ("site", "Add recordings with other values of 'site', or set split.group_by=recording."),
        ("recording", "Add recordings, so that a species has at least two."),
    ],
)
def test_remedy_names_what_is_grouped(group_by: str, remedy: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_folds(LABELS, np.zeros(6, np.int64), 2, "split.folds", group_by)
    assert str(refused.value).endswith(remedy)


def test_species_of_one_recording_each_need_more_recordings_whatever_the_grouping() -> None:
    with pytest.raises(ValueError, match=r"Add recordings by other recordists, so that a species has at least two\.$"):
        check_folds(np.array(["a", "b", "c"]), np.zeros(3, np.int64), 2, "split.folds", "recordist")
