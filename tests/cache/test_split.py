import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.catalogue import build_catalogue
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.config.split import SplitConfig
from cache.features import open_feature_directory
from cache.folds.assignment import _pin_lost_species, assign_folds
from cache.folds.groups import PINNED_FOLD, TEST_FOLD, count_leaks, group_recordings, is_trained_on
from cache.folds.table import read_split
from cache.recordings.table import read_recordings
from cache.split import build_split
from cache.store.part_writer import PartWriter
from cache.workspace.artefact import artefact_key, read_provenance
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

FEATURES = LogMelConfig(n_mels=2)


def make_table(rows: list[tuple[str, str]], **columns: list[object]) -> pd.DataFrame:
    """A catalogue's table from (label, recordist), each recording with bytes and a duration of its own."""
    table = pd.DataFrame(rows, columns=["label", "recordist"])
    return table.assign(
        recording_id=[f"r{row:03}" for row in range(len(table))],
        sound=[f"r{row:03}" for row in range(len(table))],
        seconds=[1.0 + row for row in range(len(table))],
        **columns,
    )


def well_spread(species: int = 4, recordists: int = 10, each: int = 2) -> pd.DataFrame:
    """Every recordist has `each` recordings of every species."""
    return make_table([(f"s{s}", f"ann{r}") for s in range(species) for r in range(recordists) for _ in range(each)])


@st.composite
def random_tables(draw: st.DrawFn) -> tuple[pd.DataFrame, SplitConfig]:
    """A long-tailed table with shared recordists, unknown ones, duplicates, and a species that fills every fold."""
    folds = draw(st.integers(2, 5))
    count = draw(st.integers(1, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    species, recordists = draw(st.integers(1, 12)), draw(st.integers(1, 15))
    label = np.minimum(generator.geometric(0.3, count), species)
    recordist = generator.integers(0, recordists, count)  # recordist 0 is nobody
    audio = generator.integers(0, max(1, round(count * draw(st.floats(0.5, 5)))), count)
    rows = [(f"s{s}", f"ann{r}" if r else "") for s, r in zip(label, recordist, strict=True)]
    rows += [("common", f"own{row}") for row in range(2 * folds)]
    table = make_table(rows)
    conflicts = draw(st.booleans())  # one sound under several labels
    table.loc[: count - 1, "sound"] = [f"{'' if conflicts else s}-{a}" for s, a in zip(label, audio, strict=True)]
    table.loc[: count - 1, "seconds"] = generator.integers(1, 30, count).astype(float)
    shuffled = table.iloc[generator.permutation(len(table))].reset_index(drop=True)
    return shuffled, SplitConfig(folds=folds, seed=draw(st.integers(0, 1000)))


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


@settings(deadline=None, max_examples=80)
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


@settings(deadline=None, max_examples=40)
@given(random_tables())
def test_groups_are_those_of_a_plain_loop(drawn: tuple[pd.DataFrame, SplitConfig]) -> None:
    table, _ = drawn
    group = group_recordings(table)
    expected = brute_force_groups(table)
    assert len(set(zip(group, expected, strict=True))) == len(set(group)) == len(set(expected))


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
    split = pd.DataFrame(
        {
            "label": ["a", "a", "b", "b", "c", "c", "d"],
            "group": list("tuvwxyz"),
            "fold": [0, 0, 0, 1, 1, PINNED_FOLD, PINNED_FOLD],
            "pinned": [False, False, False, False, False, True, True],
        }
    )
    pinned = _pin_lost_species(split, np.arange(7).astype(str))
    # a is in fold 0 only; c is in fold 1 only but always trained as well
    assert list(pinned["fold"]) == [PINNED_FOLD, PINNED_FOLD, 0, 1, 1, PINNED_FOLD, PINNED_FOLD]


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


@pytest.mark.parametrize("recordists", [1, 2, 4])
def test_fewer_groups_than_folds_are_refused(recordists: int) -> None:
    table = well_spread(recordists=recordists)
    groups = recordists if recordists > 1 else 0  # the species of a single recordist are all pinned
    with pytest.raises(
        ValueError, match=rf"^{groups} group\(s\) of recordings .* cannot fill the 5 parts that split.folds=5"
    ):
        assign_folds(table, SplitConfig(folds=5))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "work"


def write_catalogue(rows: list[tuple[str, str]], workspace: Path) -> Path:
    """A real catalogue; a row's audio is another for each place in the list."""
    table = make_table(rows).drop(columns=["seconds", "sound"]).assign(sha256=[f"sha{row}" for row in range(len(rows))])
    return build_catalogue_of(table, workspace)


def build_catalogue_of(table: pd.DataFrame, workspace: Path) -> Path:
    store = open_feature_directory(FEATURES, Workspace(workspace)).path
    with PartWriter(FeatureDirectory(store), 2) as writer:
        for sha256 in table["sha256"]:
            writer.add_strip(sha256, np.zeros((100 + int(sha256.removeprefix("sha")), 2), np.float32))
        writer.publish()
    recordings = table.assign(secondary_labels="", size=1, version="1")
    return build_catalogue(recordings, DataConfig(root="unused"), FeatureDirectory(store), Workspace(workspace))


ROWS = [(f"s{s}", f"ann{r}") for s in range(2) for r in range(12) for _ in range(3)] + [("rare", "ann0")]


@pytest.fixture
def catalogue(workspace: Path) -> Path:
    """A real catalogue: 12 recordists with three takes of each of two species, and a species of one recordist."""
    return write_catalogue(ROWS, workspace)


def test_built_split_holds_every_recording_with_its_fold(catalogue: Path, workspace: Path) -> None:
    directory = build_split(SplitConfig(folds=4), catalogue, Workspace(workspace))
    split = read_split(directory)
    assert list(split.columns) == ["recording_id", "label", "fold", "group", "pinned"]
    assert list(split["recording_id"]) == [f"r{row:03}" for row in range(73)]
    assert split["fold"].dtype == np.int64
    assert split["pinned"].dtype == bool
    assert Counter(split["fold"]) == {0: 18, 1: 18, 2: 18, 3: 18, PINNED_FOLD: 1}
    assert list(split.loc[split["pinned"], "label"]) == ["rare"]
    assert read_provenance(directory)["inputs"] == {"catalogue": artefact_key(catalogue)}


def test_report_counts_what_the_split_did(catalogue: Path, workspace: Path) -> None:
    directory = build_split(SplitConfig(folds=4), catalogue, Workspace(workspace))
    report = json.loads((directory / "split_report.json").read_text())
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


def test_report_shows_that_plain_stratified_folds_leak(catalogue: Path, workspace: Path) -> None:
    directory = build_split(SplitConfig(folds=4), catalogue, Workspace(workspace))
    leak = json.loads((directory / "split_report.json").read_text())["plain_stratified"]["leak"]
    # three takes of a recordist and species stay together by chance only
    assert leak["shared_pairs"] > 12
    assert leak["leaking_recordings"] > 36
    assert leak["leaking_share"] == pytest.approx(leak["leaking_recordings"] / 73, abs=1e-4)


def test_split_is_made_once_per_seed(catalogue: Path, workspace: Path) -> None:
    first = build_split(SplitConfig(folds=4), catalogue, Workspace(workspace))
    assert build_split(SplitConfig(folds=4), catalogue, Workspace(workspace)) == first
    assert build_split(SplitConfig(folds=4, seed=1), catalogue, Workspace(workspace)) != first


def test_catalogue_with_too_few_recordists_gives_no_split(catalogue: Path, workspace: Path) -> None:
    with pytest.raises(
        ValueError, match=r"12 group\(s\) of recordings .* cannot fill the 13 parts that split\.folds=13"
    ):
        build_split(SplitConfig(folds=13), catalogue, Workspace(workspace))
    assert not (workspace / "splits").exists()


def test_authors_called_unknown_are_no_common_recordist() -> None:
    table = make_table([(f"s{row % 3}", "unknown") for row in range(60)])
    assert len(set(group_recordings(table))) == 60
    split = assign_folds(table, SplitConfig(folds=4))
    assert count_leaks(table, split["fold"].to_numpy())["shared_pairs"] == 0


def test_a_recordist_named_like_a_recording_is_not_its_author() -> None:
    table = make_table([("s0", ""), ("s1", "r000"), ("s2", "r000")])
    assert group_recordings(table).tolist() == [0, 1, 1]


def test_species_with_fewer_recordings_than_folds_alone_are_refused_with_a_remedy() -> None:
    table = make_table([(f"s{row % 8}", f"ann{row}") for row in range(16)])
    with pytest.raises(ValueError, match=r"more than 2 recordings.*split\.folds=3 asks for: ask for fewer"):
        assign_folds(table, SplitConfig(folds=3))


def spread_table(recordings: int = 120, species: int = 4, recordists: int = 30) -> pd.DataFrame:
    """Recordings of a few species by many recordists, each at two places, with a site and a given fold."""
    number = np.arange(recordings)
    recordist = number % recordists
    return pd.DataFrame(
        {
            "recording_id": [f"{index:04}" for index in number],
            "label": [f"species {index}" for index in number // recordists % species],
            "recordist": [f"recordist {index}" for index in recordist],
            "sound": [f"{index:04}" for index in number],
            "seconds": number.astype(float),
            "latitude": [f"{index % 2:.2f}" for index in number],
            "longitude": "10.05",
            "site": [f"site {index // 3}" for index in recordist],
            "table_fold": [str(index % 3) for index in recordist],
        }
    )


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["3", "x", ""], r"3 other values, such as 0000 \('3'\), 0001 \('x'\), 0002 \(''\)"),
        (["0.5"], r"1 other values, such as 0000 \('0.5'\)"),
    ],
)
def test_given_folds_that_are_none_are_named(given: list[str], message: str) -> None:
    table = spread_table()
    table.loc[: len(given) - 1, "table_fold"] = given
    with pytest.raises(ValueError, match=message):
        assign_folds(table, SplitConfig(folds=3, fold_column="fold"))


def test_given_folds_must_fill_every_fold() -> None:
    with pytest.raises(ValueError, match=r"none of fold \[3\]"):
        assign_folds(spread_table(), SplitConfig(folds=4, fold_column="fold"))
    with pytest.raises(ValueError, match=r"split\.fold_column='part': the table of recordings has no such column"):
        assign_folds(spread_table(), SplitConfig(folds=4, fold_column="part"))


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


def test_a_test_share_beside_given_folds_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be held out of the folds that fold_column='fold' gives"):
        SplitConfig(fold_column="fold", test_share=0.1)


CONFIG = SplitConfig(folds=4)


def keep(split: Path) -> SplitConfig:
    return CONFIG.model_copy(update={"keep_folds_of": split.name})


def test_split_of_an_unchanged_catalogue_is_kept_itself(catalogue: Path, workspace: Path) -> None:
    split = build_split(CONFIG, catalogue, Workspace(workspace))
    assert build_split(keep(split), catalogue, Workspace(workspace)) == split


def test_champion_counts_as_null_until_a_flow_puts_a_key_in_its_place(catalogue: Path, workspace: Path) -> None:
    anew = build_split(CONFIG.model_copy(update={"keep_folds_of": None}), catalogue, Workspace(workspace))
    assert CONFIG.keep_folds_of == "champion"
    assert build_split(CONFIG, catalogue, Workspace(workspace)) == anew


def test_known_recordings_keep_their_folds_and_new_ones_join_their_recordists(catalogue: Path, workspace: Path) -> None:
    split = build_split(CONFIG, catalogue, Workspace(workspace))
    grown = write_catalogue([*ROWS, ("s0", "ann3"), ("s1", "new"), ("rare", "new")], workspace)
    kept = build_split(keep(split), grown, Workspace(workspace))
    assert read_provenance(kept)["inputs"] == {"catalogue": artefact_key(grown), "previous": split.name}
    before, after = (read_split(path).set_index("recording_id")["fold"] for path in (split, kept))
    assert list(after[before.index[:72]]) == list(before[:72])
    assert after["r073"] == before["r009"]  # of ann3
    assert after["r074"] == after["r075"] >= 0
    assert after["r072"] == before["r000"]  # rare has two recordists now
    assert json.loads((kept / "split_report.json").read_text())["kept"] == {
        "split": split.name,
        "recordings_kept": 72,
        "recordings_unpinned": 1,
        "recordings_moved": 0,
        "recordings_new": 3,
        "recordings_gone": 0,
    }
    assert build_split(keep(split), grown, Workspace(workspace)) == kept
    assert build_split(keep(kept), grown, Workspace(workspace)) == kept
    assert build_split(CONFIG, grown, Workspace(workspace)) != kept


def test_renamed_recordings_keep_their_folds_and_vanished_ones_are_counted(catalogue: Path, workspace: Path) -> None:
    split = build_split(CONFIG, catalogue, Workspace(workspace))
    table = make_table(ROWS).assign(sha256=[f"sha{row}" for row in range(73)], recordist="")
    renamed = table.drop(columns=["seconds", "sound"]).assign(recording_id=[f"new{row:03}" for row in range(73)])[3:]
    kept = build_split(keep(split), build_catalogue_of(renamed, workspace), Workspace(workspace))
    before, after = read_split(split).set_index("recording_id")["fold"], read_split(kept)
    assert list(after["fold"][:69]) == list(before["r003":"r071"])
    assert json.loads((kept / "split_report.json").read_text())["kept"]["recordings_gone"] == 3


def test_split_that_has_the_folds_already_is_taken_again(catalogue: Path, workspace: Path) -> None:
    first = build_split(CONFIG, catalogue, Workspace(workspace))
    grown = write_catalogue([*ROWS, ("s0", "new")], workspace)
    grown_more = write_catalogue([*ROWS, ("s0", "new"), ("s1", "newer")], workspace)
    second = build_split(keep(first), grown, Workspace(workspace))
    third = build_split(keep(second), grown_more, Workspace(workspace))
    assert read_provenance(third)["inputs"]["previous"] == second.name
    assert build_split(keep(first), grown_more, Workspace(workspace)) == third  # as after a rollback
    assert build_split(keep(third), catalogue, Workspace(workspace)) == first
    shutil.rmtree(first)
    assert build_split(keep(first), grown, Workspace(workspace)) == second


def test_split_of_other_settings_keeps_no_folds(
    catalogue: Path, workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = build_split(CONFIG.model_copy(update={"seed": 1, "folds": 3}), catalogue, Workspace(workspace))
    with caplog.at_level("INFO"):
        assert build_split(keep(other), catalogue, Workspace(workspace)) == build_split(
            CONFIG, catalogue, Workspace(workspace)
        )
    assert f"{other.name} has other settings (folds, seed), so folds are assigned anew" in caplog.text


def test_split_of_which_nothing_or_too_little_is_left_keeps_no_folds(catalogue: Path, workspace: Path) -> None:
    split = build_split(CONFIG, catalogue, Workspace(workspace))
    fold = read_split(split)["fold"]
    table = make_table(ROWS).assign(sha256=[f"sha{row}" for row in range(73)]).drop(columns=["seconds", "sound"])
    others = table.assign(sha256=[f"sha{row}" for row in range(100, 173)])
    for remaining in (others, table[fold != 2]):
        changed = build_catalogue_of(remaining, workspace)
        anew = build_split(keep(split), changed, Workspace(workspace))
        assert json.loads((anew / "split_report.json").read_text())["kept"] is None
        assert list(read_split(anew)["fold"]) == list(
            read_split(build_split(CONFIG, changed, Workspace(workspace)))["fold"]
        )


def test_missing_split_to_keep_is_told(catalogue: Path, workspace: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"split.keep_folds_of=0123456789abcdef: .*keep_folds_of=null"):
        build_split(CONFIG.model_copy(update={"keep_folds_of": "0123456789abcdef"}), catalogue, Workspace(workspace))
