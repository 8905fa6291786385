"""The stage on real catalogues: what it writes, and which folds of an earlier split it keeps."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recording_tables import make_table

from cache.catalogue import build_catalogue
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.config.split import SplitConfig
from cache.features import open_feature_directory
from cache.folds.groups import PINNED_FOLD
from cache.folds.split_table import read_split
from cache.split import build_split, check_split, warn_of_unknown_recordists
from cache.store.part_writer import PartWriter
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import artefact_key, read_provenance
from cache.workspace.workspace import Workspace

pytestmark = pytest.mark.usefixtures("without_pictures")

FEATURES = LogMelConfig(n_mels=2)


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


def test_split_is_made_once_per_seed(catalogue: Path, workspace: Path) -> None:
    first = build_split(SplitConfig(folds=4), catalogue, Workspace(workspace))
    assert build_split(SplitConfig(folds=4), catalogue, Workspace(workspace)) == first
    assert build_split(SplitConfig(folds=4, seed=1), catalogue, Workspace(workspace)) != first


def test_catalogue_with_too_few_recordists_gives_no_split(catalogue: Path, workspace: Path) -> None:
    with pytest.raises(ValueError, match=r"split\.folds=13 needs 13 groups .* only 12\. .* Set split\.folds=12 or"):
        build_split(SplitConfig(folds=13), catalogue, Workspace(workspace))
    assert not (workspace / "splits").exists()


AUTO = SplitConfig(folds="auto")


def test_auto_has_the_key_of_the_number_that_it_chooses(catalogue: Path, workspace: Path) -> None:
    made = build_split(AUTO, catalogue, Workspace(workspace))
    assert made == build_split(SplitConfig(folds=5), catalogue, Workspace(workspace))
    assert read_provenance(made)["config"]["folds"] == 5
    few = write_catalogue([(f"s{s}", f"ann{r}") for s in range(2) for r in range(3)], workspace)
    assert build_split(AUTO, few, Workspace(workspace)) == build_split(SplitConfig(folds=3), few, Workspace(workspace))


def test_auto_keeps_the_number_of_the_kept_folds_while_it_works(workspace: Path) -> None:
    few = write_catalogue([(f"s{s}", f"ann{r}") for s in range(2) for r in range(3)], workspace)
    earlier = build_split(AUTO, few, Workspace(workspace))
    more = write_catalogue([(f"s{s}", f"ann{r}") for s in range(2) for r in range(9)], workspace)
    kept = AUTO.model_copy(update={"keep_folds_of": earlier.name})
    grown = build_split(kept, more, Workspace(workspace))
    assert read_provenance(grown)["config"]["folds"] == 3
    assert read_provenance(grown)["inputs"]["previous"] == earlier.name
    assert build_split(kept, more, Workspace(workspace)) == grown
    assert read_provenance(build_split(AUTO, more, Workspace(workspace)))["config"]["folds"] == 5
    fewer = write_catalogue([(f"s{s}", f"ann{r}") for s in range(2) for r in range(2)], workspace)
    assert read_provenance(build_split(kept, fewer, Workspace(workspace)))["config"]["folds"] == 2


def write_table(folder: Path, text: str) -> DataConfig:
    (folder / "train_audio").mkdir(parents=True)
    (folder / "train_metadata.csv").write_text(text)
    for row in text.splitlines()[1:]:
        (folder / "train_audio" / row.split(",")[1]).touch()  # empty, because the check reads no audio
    return DataConfig(root=str(folder))


def test_split_is_refused_by_the_table_alone(tmp_path: Path, workspace: Path) -> None:
    rows = [f"s{number % 5},{number}.ogg,ann{number}" for number in range(15)]
    data = write_table(tmp_path / "data", "primary_label,filename,author\n" + "\n".join(rows))
    check_split(AUTO, data, Workspace(workspace))
    check_split(SplitConfig(folds=3), data, Workspace(workspace))
    with pytest.raises(ValueError, match=r"^split\.folds=4 needs .* Set split\.folds=3 or split\.folds=auto,"):
        check_split(SplitConfig(folds=4), data, Workspace(workspace))


def test_one_species_is_refused_even_if_folds_are_kept(tmp_path: Path, catalogue: Path, workspace: Path) -> None:
    earlier = build_split(CONFIG, catalogue, Workspace(workspace))
    data = write_table(tmp_path / "data", "primary_label,filename,author\ns0,a.ogg,ann\ns0,b.ogg,bea")
    for settings in (keep(earlier), CONFIG, CONFIG.model_copy(update={"fold_column": "author"})):
        with pytest.raises(ValueError, match=r"^All recordings are of one species, s0\."):
            check_split(settings, data, Workspace(workspace))
    alone = write_catalogue([("s0", f"ann{r}") for r in range(9)], workspace)
    with pytest.raises(ValueError, match=r"^All recordings are of one species, s0\."):
        build_split(CONFIG, alone, Workspace(workspace))


def test_check_leaves_a_table_alone_whose_folds_are_kept(tmp_path: Path, catalogue: Path, workspace: Path) -> None:
    earlier = build_split(CONFIG, catalogue, Workspace(workspace))
    data = write_table(tmp_path / "data", "primary_label,filename,author\ns0,a.ogg,ann\ns1,b.ogg,bea")
    check_split(keep(earlier), data, Workspace(workspace))
    with pytest.raises(ValueError, match=r"^split\.folds=3 needs"):
        check_split(keep(earlier).model_copy(update={"folds": 3}), data, Workspace(workspace))


@pytest.mark.parametrize(
    ("column", "settings", "told"),
    [
        ("recordist", {}, r"the score is too high\. The column recordist seems to name them: rename it to author$"),
        ("Author", {"group_by": "Author"}, r"nobody can tell .* The column Author seems"),
        ("site", {}, r"Add a column author if you know who made the recordings$"),
        ("author", {}, None),
    ],
)
def test_table_without_authors_is_warned_of_and_the_likeliest_column_is_named(
    column: str,
    settings: dict[str, str],
    told: str | None,
    tmp_path: Path,
    workspace: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [f"s{number % 2},{number}.ogg,x{number // 2}" for number in range(8)]
    data = write_table(tmp_path / "data", f"primary_label,filename,{column}\n" + "\n".join(rows))
    check_split(SplitConfig(folds=2, **settings), data, Workspace(workspace))
    assert caplog.messages == []  # the command line checks, too, and the warning comes once
    warn_of_unknown_recordists(SplitConfig(folds=2, **settings), data)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (told is not None)
    assert told is None or re.search(told, warnings[0])


@pytest.mark.parametrize(
    ("config", "anonymous", "level", "told"),
    [
        ({}, False, "INFO", "were not trained on any recording of that species by the same recordist. No copy"),
        ({}, True, "WARNING", "No scored recording has a known recordist"),
        ({"group_by": "recording"}, False, "WARNING", "split.group_by=recording lets recordists stand on both sides."),
    ],
)
def test_log_says_what_is_validated_and_what_leaks(
    config: dict[str, str], anonymous: bool, level: str, told: str, workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue = write_catalogue([(label, "" if anonymous else who) for label, who in ROWS], workspace)
    with caplog.at_level("INFO"):
        directory = build_split(SplitConfig(folds=4, **config), catalogue, Workspace(workspace))
    messages = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("INFO", "split: 2 of 3 species and 72 of 73 usable recordings are validated, in 4 folds") in messages
    assert [one for one, text in messages if told in text] == [level]
    overlap = json.loads((directory / "split_report.json").read_text())["overlap"]
    assert overlap["recordist_known"] == (0 if anonymous else 72)
    assert (overlap["same_recordist_and_species"] > 0) == ("group_by" in config)


CONFIG = SplitConfig(folds=4)


def keep(split: Path) -> SplitConfig:
    return CONFIG.model_copy(update={"keep_folds_of": split.name})


def test_split_of_an_unchanged_catalogue_is_kept_itself_without_a_word(
    catalogue: Path, workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split = build_split(CONFIG, catalogue, Workspace(workspace))
    with caplog.at_level("INFO"):
        caplog.clear()
        assert build_split(keep(split), catalogue, Workspace(workspace)) == split
    assert caplog.messages == []


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
    (told,) = [message for message in caplog.messages if other.name in message]
    assert "folds, seed" in told


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
