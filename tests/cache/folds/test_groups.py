"""Groups against a plain loop over pairs of recordings, and by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from recording_tables import make_table, random_tables, spread_table

from cache.config.data import DataConfig
from cache.config.split import SplitConfig
from cache.folds.assignment import assign_folds
from cache.folds.groups import group_recordings, share_known_to_training, table_column
from cache.folds.overlap import count_leaks
from cache.recordings.user_table import read_recordings


def brute_force_groups(table: pd.DataFrame) -> list[int]:
    """Smallest row of each row's group, by joining pairs until nothing changes."""
    rows = table.to_dict("records")
    group = list(range(len(rows)))
    changed = True
    while changed:
        changed = False
        for i, one in enumerate(rows):
            for j, two in enumerate(rows):
                same_recordist = one["recordist"] == two["recordist"] not in {"", "unknown"}
                same_sound = one["sound"] == two["sound"]
                same_take = all(one[name] == two[name] for name in ("label", "recordist", "seconds"))
                if (same_recordist or same_sound or same_take) and group[i] != group[j]:
                    group[i] = group[j] = min(group[i], group[j])
                    changed = True
    return group


@settings(deadline=None, max_examples=40)
@given(random_tables())
def test_groups_are_those_of_a_plain_loop(drawn: tuple[pd.DataFrame, SplitConfig]) -> None:
    table, _ = drawn
    group = group_recordings(table)
    expected = brute_force_groups(table)
    assert len(set(zip(group, expected, strict=True))) == len(set(group)) == len(set(expected))


@pytest.mark.parametrize("nobody", ["", "unknown"])
def test_unknown_recordist_is_a_group_of_its_own_per_recording(nobody: str) -> None:
    table = make_table([("a", nobody)] * 5 + [("b", nobody)] * 3 + [("a", "ann"), ("b", "ann")])
    group = group_recordings(table)
    assert len(set(group[:8])) == 8
    assert group[8] == group[9]
    assert group[8] not in set(group[:8])


def test_case_of_the_author_does_not_part_a_recordist(tmp_path: Path) -> None:
    (tmp_path / "train_audio").mkdir()
    authors = ("Ann Other", "ANN OTHER", " ann other ", "Bob")
    lines = ["primary_label,filename,author"]
    for number, author in enumerate(authors):
        (tmp_path / "train_audio" / f"{number}.ogg").write_bytes(b"x")
        lines.append(f"bird{number},{number}.ogg,{author}")
    (tmp_path / "train_metadata.csv").write_text("\n".join(lines) + "\n")
    recordings = read_recordings(DataConfig(root=str(tmp_path)))
    table = recordings.assign(sound=["a", "b", "c", "d"], seconds=[1.0, 2.0, 3.0, 4.0])
    group = group_recordings(table)
    assert group[0] == group[1] == group[2] != group[3]


def test_same_species_recordist_and_duration_is_one_take_even_if_nobody_is_named() -> None:
    table = make_table([("a", ""), ("a", ""), ("a", ""), ("b", "")]).assign(seconds=[7.5, 7.5, 7.6, 7.5])
    group = group_recordings(table)
    assert group[0] == group[1]
    assert len(set(group)) == 3


def test_same_sound_by_two_recordists_joins_their_groups() -> None:
    table = make_table([("a", "ann"), ("b", "ann"), ("a", "bob"), ("c", "bob"), ("c", "cy")])
    table["sound"] = ["x", "1", "x", "2", "3"]
    group = group_recordings(table)
    assert len(set(group[:4])) == 1
    assert group[4] != group[0]


def test_authors_called_unknown_are_no_common_recordist() -> None:
    table = make_table([(f"s{row % 3}", "unknown") for row in range(60)])
    assert len(set(group_recordings(table))) == 60
    split = assign_folds(table, SplitConfig(folds=4))
    assert count_leaks(table, split["fold"].to_numpy())["shared_pairs"] == 0


def test_a_recordist_named_like_a_recording_is_not_its_author() -> None:
    table = make_table([("s0", ""), ("s1", "r000"), ("s2", "r000")])
    assert group_recordings(table).tolist() == [0, 1, 1]


def groups_of(table: pd.DataFrame, group_by: str) -> list[set[str]]:
    """The recordings of each group, largest first."""
    split = pd.DataFrame({"recording_id": table["recording_id"], "group": group_recordings(table, group_by)})
    return sorted(
        (set(rows) for _, rows in split.groupby("group")["recording_id"]), key=lambda rows: (-len(rows), min(rows))
    )


def test_recordings_are_grouped_by_what_is_asked_for() -> None:
    table = spread_table(recordings=8, recordists=4)
    table["latitude"] = ["1.01", "1.01", "1.01", "", "1.09", "1.11", "1.05", ""]
    table["site"] = ["north", "north", "", "", "north", "", "", "south"]
    table.loc[3, "recordist"] = "unknown"
    names = list(table["recording_id"])
    of = {name: [{names[index] for index in rows} for rows in groups] for name, groups in {
        "recordist": [(0, 4), (1, 5), (2, 6), (3,), (7,)],
        "recordist+place": [(0, 4), (2, 6), (1,), (3,), (5,), (7,)],  # 1.01 and 1.11 lie in two cells
        "recording": [(0,), (1,), (2,), (3,), (4,), (5,), (6,), (7,)],
        "site": [(0, 1, 4), (2,), (3,), (5,), (6,), (7,)],  # an unknown site is no common one
    }.items()}  # fmt: skip
    for group_by, groups in of.items():
        assert groups_of(table, group_by) == groups


def test_duplicates_share_a_group_whatever_is_asked_for() -> None:
    table = spread_table(recordings=8, recordists=4)
    table.loc[5, "sound"] = table.loc[0, "sound"]
    assert {table.loc[0, "recording_id"], table.loc[5, "recording_id"]} in groups_of(table, "recording")


@pytest.mark.parametrize(
    ("group_by", "message"),
    [("sight", "split.group_by='sight': the table of recordings has no such column"), ("recordist+place", "latitude")],
)
def test_missing_column_to_group_by_is_named(group_by: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_recordings(spread_table().drop(columns="latitude"), group_by)


def test_columns_to_choose_from_are_those_of_the_users_table() -> None:
    """The user's table has primary_label, filename, fold and site; the cache adds columns and renames `fold`."""
    table = pd.DataFrame(
        [["a.wav", "ant", "", "", "0", "x", 1.0, "a.wav", "7"]],
        columns=[
            "recording_id",
            "label",
            "secondary_labels",
            "recordist",
            "table_fold",
            "site",
            "seconds",
            "sound",
            "sha256",
        ],
    )
    with pytest.raises(ValueError, match=r"Set split\.fold_column to one of its further columns: fold, site\.$"):
        table_column(table, "folds", "split.fold_column")
    with pytest.raises(ValueError, match=r"has no such column\. Add the column\.$"):
        table_column(table.drop(columns=["table_fold", "site"]), "folds", "split.fold_column")


@pytest.mark.parametrize("name", ["size", "version", "secondary_labels"])
def test_column_of_the_cache_is_none_of_the_users(name: str) -> None:
    table = pd.DataFrame({"recording_id": ["a"], name: ["1"]})
    with pytest.raises(ValueError, match=rf"split\.group_by='{name}': the table of recordings has no such column"):
        table_column(table, name, "split.group_by")
    own = table.assign(**{f"table_{name}": ["2"]})
    assert table_column(own, name, "split.group_by").tolist() == ["2"]


def test_held_out_recordings_that_training_knows_are_counted_by_hand() -> None:
    recordings = pd.DataFrame(
        {"label": ["ant", "ant", "bee", "ant", "bee"], "recordist": ["anna", "bert", "anna", "", "anna"]}
    )
    # held out: ant by anna (training has only bee by anna), ant by nobody known, bee by anna (training has one)
    assert share_known_to_training(recordings, np.array([-2, 0, 1, -2, -2])) == pytest.approx(1 / 3, abs=1e-4)
    assert share_known_to_training(recordings, np.array([0, 0, 1, 1, -1])) == 0


def test_missing_coordinates_are_one_place_of_each_recordist() -> None:
    table = make_table([("a", "ann")] * 5 + [("b", "bob")] * 2 + [("c", "eve")])
    table["latitude"] = ["1.01", "None", "", "nan", " 1.02 ", "", "None", "1.01"]
    table["longitude"] = ["5.01", "None", "", "nan", "5.02", "", "None", "5.01"]
    assert list(group_recordings(table, "recordist+place")) == [0, 1, 1, 1, 0, 2, 2, 3]


@pytest.mark.parametrize(
    ("value", "remedy"),
    [("44,39", "Write a point for the decimal comma"), ("44°23'N", "Write degrees such as 40.39, or leave the field")],
)
def test_coordinates_that_are_no_numbers_are_named_and_never_taken_for_none(value: str, remedy: str) -> None:
    table = make_table([("a", "ann")] * 3).assign(latitude=["1.0", value, value], longitude="2.0")
    with pytest.raises(ValueError, match=rf"column latitude .* '?\"?{value}.*rows concerned: 2\. {remedy}"):
        group_recordings(table, "recordist+place")
