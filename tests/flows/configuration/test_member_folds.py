"""Validation folds of members, against what the split can have."""

import pytest

from cache.config.split import SplitConfig
from flows.configuration.member_folds import check_folds

GIVEN = SplitConfig(folds="auto", fold_column="fold")
"""A split whose number of folds only the table tells."""


@pytest.mark.parametrize(
    ("split", "folds"),
    [
        (SplitConfig(folds=3), {"cnn": None}),
        (SplitConfig(folds=3), {"cnn": (2, 0), "head": (0, 2)}),
        (SplitConfig(folds=3), {"cnn": None, "head": (2, 1, 0)}),
        (SplitConfig(folds="auto"), {"cnn": (4,)}),
        (SplitConfig(folds="auto"), {"cnn": None, "head": (0, 1, 2)}),  # there may be three
        (GIVEN, {"cnn": (7,), "head": None}),
    ],
    ids=str,
)
def test_folds_that_the_split_may_have_pass(split: SplitConfig, folds: dict[str, tuple[int, ...] | None]) -> None:
    check_folds(split, folds)


@pytest.mark.parametrize(
    ("split", "folds", "told"),
    [
        (SplitConfig(folds=3), {"cnn": (3,)}, r"train\.cnn\.folds=\[3\] must name .* from 0 to 2, .*Set train\.cnn"),
        (SplitConfig(folds="auto"), {"cnn": None, "head": (5,)}, r"train\.head\.folds=\[5\] .* from 0 to 4, .*=auto"),
        (GIVEN, {"cnn": ()}, r"train\.cnn\.folds=\[\] must name at least one fold, and each fold once"),
        (GIVEN, {"cnn": (7, 7)}, r"train\.cnn\.folds=\[7, 7\] must name"),
        (
            SplitConfig(folds=3),
            {"cnn": (0,), "head": None},
            r"head has the folds \[0, 1, 2\], but train\.cnn has \[0\]",
        ),
        (GIVEN, {"cnn": None, "a": (7,), "b": (6,)}, r"train\.b has the folds \[6\], but train\.a has \[7\]"),
    ],
    ids=str,
)
def test_other_folds_are_refused(split: SplitConfig, folds: dict[str, tuple[int, ...] | None], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_folds(split, folds)
