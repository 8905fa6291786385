"""A split's table written by hand and read back."""

from pathlib import Path

from cache.folds.split_table import read_split


def test_names_that_look_like_numbers_or_nothing_stay_text_and_folds_are_numbers(tmp_path: Path) -> None:
    lines = ["recording_id,label,fold,group,pinned", "007,NA,-1,007,True", "1e3,nan,2,,False"]
    (tmp_path / "split.csv").write_text("\n".join(lines) + "\n")
    split = read_split(tmp_path)
    assert split.to_dict(orient="list") == {
        "recording_id": ["007", "1e3"],
        "label": ["NA", "nan"],
        "fold": [-1, 2],
        "group": ["007", ""],
        "pinned": [True, False],
    }
    assert (split["fold"].dtype, split["pinned"].dtype) == ("int64", "bool")
