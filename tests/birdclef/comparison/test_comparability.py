"""Reports that decisions read, written by tests/builders: what leaks is counted here by a plain loop, or made so."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from written_reports import list_recordings, write_report

from birdclef.comparison.comparability import find_advantages, find_objections, find_selection
from birdclef.comparison.leaks import measure_leaks
from cache.workspace.workspace import Workspace


def write(workspace: Path, name: str, recordings: pd.DataFrame | None = None, **changes: Any) -> Path:
    recordings = list_recordings() if recordings is None else recordings
    return write_report(workspace, name, recordings, np.zeros(len(recordings), bool), **changes)[0]


def objections(report: Path, other: Path) -> list[str]:
    workspace = Workspace(report.parent.parent)
    return find_objections(report, other, measure_leaks(report, other, workspace), workspace)


def advantages(report: Path, other: Path) -> list[str]:
    return find_advantages(measure_leaks(report, other, Workspace(report.parent.parent)), other.name)


def spread_pairs(column: str, leaking: int) -> pd.DataFrame:
    """Returns 1,500 recordings, two of each value in a column; the folds divide the pairs of the first `leaking`."""
    place = np.arange(1500)
    alone = [f"r{number}" for number in place]
    pair, second = place // 2, place % 2 == 1
    known = list_recordings().assign(label=[f"s{number % 20:02}" for number in pair], recordist=alone, sound=alone)
    return known.assign(**{column: [f"p{number}" for number in pair], "fold": pair % 4 + (second & (place < leaking))})


def leak_by_hand(recordings: pd.DataFrame) -> float:
    """Returns the share of recordings that have one by the same recordist of the same species in another fold."""
    rows = list(zip(recordings["label"], recordings["recordist"], recordings["fold"], strict=True))
    folds: dict[tuple[str, str], set[int]] = {}
    for label, recordist, fold in rows:
        folds.setdefault((label, recordist), set()).add(fold)
    return sum(len(folds[label, recordist]) > 1 for label, recordist, _ in rows) / len(rows)


@pytest.mark.parametrize(
    ("own", "others", "words"),
    [
        ({"group_by": "recording"}, {}, "split.group_by=recording and those of {} have recordist"),
        ({}, {"group_by": "recordist+place"}, "split.group_by=recordist and those of {} have recordist+place"),
        ({"fold_column": "my_fold"}, {}, "split.fold_column=my_fold and those of {} have null"),
    ],
)
def test_other_settings_that_decide_the_leak_are_named(
    own: dict[str, Any], others: dict[str, Any], words: str, tmp_path: Path
) -> None:
    champion, report = write(tmp_path, "champion", split=others), write(tmp_path, "report", split=own)
    (reason,) = objections(report, champion)
    assert words.format(champion.name) in reason


def test_nobody_is_told_to_go_back_to_the_leak_of_an_old_champion(tmp_path: Path) -> None:
    mixed = list_recordings().assign(fold=np.random.default_rng(0).integers(4, size=1500))
    share = f"{100 * leak_by_hand(mixed):.1f} %"
    leaky = write(tmp_path, "leaky", mixed, split={"group_by": "recording"})
    honest = write(tmp_path, "honest")
    (reason,) = objections(honest, leaky)
    assert f"0.0 % and {share}" in reason
    assert "set split" not in reason
    assert objections(leaky, honest)[0].endswith("set split.group_by=recordist")
    (told,) = advantages(honest, leaky)
    assert told.startswith(
        f"{share} of the recordings that both scored have a training recording by the same recordist"
    )
    assert told.endswith(f"and 0.0 % for this report, so the score of {leaky.name} is too high beside it")
    assert advantages(leaky, honest) == []


def test_number_of_folds_seed_held_out_share_and_new_recordings_may_differ(tmp_path: Path) -> None:
    known = list_recordings()
    new = known.assign(sha256="new" + known["sha256"], recording_id="new" + known["recording_id"])
    grown = pd.concat([known, new], ignore_index=True)
    more = known.assign(fold=known["group"] % 5)
    champion = write(tmp_path, "champion", split={"folds": 4, "seed": 1, "test_share": 0.2})
    other = write(tmp_path, "report", more, split={"folds": 5, "seed": 2, "test_share": 0.0, "fold_column": None})
    larger = write(tmp_path, "larger", grown)
    assert objections(other, champion) == objections(larger, champion) == []


@pytest.mark.parametrize(
    ("leaking", "before", "refused"),
    [(2, 0, True), (1064, 0, True), (892, 886, False), (916, 886, True), (0, 886, False)],
)
@pytest.mark.parametrize("column", ["recordist", "sound"])
def test_leak_may_only_drift_where_something_leaked_before(
    column: str, leaking: int, before: int, refused: bool, tmp_path: Path
) -> None:
    champion = write(tmp_path, "champion", spread_pairs(column, before))
    reasons = objections(write(tmp_path, "report", spread_pairs(column, leaking)), champion)
    assert bool(reasons) == refused
    what = "a training recording by the same recordist" if column == "recordist" else "a copy among the training"
    assert all(f"{leaking / 15:.1f} % of its scored recordings have {what}" in reason for reason in reasons)


def test_copies_that_are_only_trained_on_count(tmp_path: Path) -> None:
    known = list_recordings()
    copies = known[:300].assign(
        fold=-1, recordist="", sound=known["recording_id"], recording_id="copy of " + known["recording_id"]
    )
    copies["sha256"] = "f" + copies["sha256"].str[1:]  # re-encoded
    usable = pd.concat([known.assign(sound=known["recording_id"]), copies], ignore_index=True)
    champion, report = write(tmp_path, "champion"), write(tmp_path, "report", usable=usable)
    (reason,) = objections(report, champion)
    assert reason.startswith("20.0 % of its scored recordings have a copy among the training recordings of the same")
    assert f"and 0.0 % of those of {champion.name}" in reason
    wrong = usable.assign(label=usable["label"].where(usable["fold"] != -1, "another species"))
    assert objections(write(tmp_path, "other species", usable=wrong), champion) == []  # they teach what is wrong


def test_folds_that_leak_because_the_table_lost_its_recordists_are_found(tmp_path: Path) -> None:
    known = list_recordings()
    fold = np.random.default_rng(0).integers(4, size=len(known))
    lost = known.assign(recordist="", fold=fold, group=range(len(known)))
    share = leak_by_hand(known.assign(fold=fold))
    assert share > 0.1
    champion, report = write(tmp_path, "champion", known), write(tmp_path, "report", lost)
    (reason,) = objections(report, champion)
    assert f"{100 * share:.1f} % of its scored recordings have a training recording by the same recordist" in reason


def test_recordists_that_are_known_later_speak_against_the_folds_and_not_against_the_later_report(
    tmp_path: Path,
) -> None:
    mixed = list_recordings().assign(fold=np.random.default_rng(0).integers(4, size=1500))
    champion = write(tmp_path, "champion", mixed.assign(recordist=""))
    same = write(tmp_path, "same folds", mixed)
    assert objections(same, champion) == advantages(same, champion) == []
    new = mixed.assign(sha256="new" + mixed["sha256"], recording_id="new" + mixed["recording_id"], recordist="")
    half = write(tmp_path, "half of them known", pd.concat([mixed, new], ignore_index=True))
    assert objections(half, champion) == []
    honest = write(tmp_path, "honest")
    assert objections(honest, champion) == []
    (told,) = advantages(honest, champion)
    assert told.startswith(f"{100 * leak_by_hand(mixed):.1f} % of the recordings that both scored have a training")


def test_only_recordings_that_the_split_holds_out_are_not_expected(tmp_path: Path) -> None:
    known = list_recordings()
    aside = known["group"] % 4 == 0
    kept, split = known[~aside].reset_index(drop=True), {"test_share": 0.25}
    usable = known.assign(fold=known["fold"].where(~aside, -2))
    champion = write(tmp_path, "champion", known)
    assert objections(write(tmp_path, "held out", kept, split=split, usable=usable), champion) == []
    (lost,) = objections(write(tmp_path, "lost", kept, split=split), champion)  # the table has lost them
    assert f"it scored only {len(kept)} of the {len(known)} recordings" in lost
    fewer = kept[kept["fold"] != 1].reset_index(drop=True)  # as with train.*.folds
    (reason,) = objections(write(tmp_path, "fewer folds", fewer, split=split, usable=usable), champion)
    assert f"it scored only {len(fewer)} of the {len(kept)} recordings that {champion.name} scored" in reason
    assert f"(and {aside.sum()} more, which it holds out)" in reason


def test_report_that_holds_out_all_that_the_other_scored_is_not_compared(tmp_path: Path) -> None:
    known = list_recordings()
    aside = known["group"] % 4 == 0
    other = write(tmp_path, "other", known[aside].reset_index(drop=True), usable=known)
    usable = known.assign(fold=known["fold"].where(~aside, -2))
    report = write(tmp_path, "report", known[~aside].reset_index(drop=True), split={"test_share": 0.25}, usable=usable)
    (reason,) = objections(report, other)
    assert reason == f"its split holds out all recordings that {other.name} scored, so it scored none of them"


def test_nine_tenths_of_the_expected_recordings_are_enough(tmp_path: Path) -> None:
    known = list_recordings()
    champion = write(tmp_path, "champion", known)
    for scored, refused in ((1350, False), (1349, True)):
        report = write(tmp_path, str(scored), known[:scored], usable=known)
        assert bool(objections(report, champion)) == refused


def test_recordings_under_another_species_are_lost(tmp_path: Path) -> None:
    known = list_recordings()
    kept = known[known["group"] % 4 != 0]
    champion = write(tmp_path, "champion", known)
    species = sorted(set(known["label"]))
    renamed = known["label"].map(dict(zip(species, species[1:] + species[:1], strict=True)))
    relabelled = known.assign(label=known["label"].where(known["group"] % 4 != 0, renamed))
    (reason,) = objections(write(tmp_path, "relabelled", relabelled), champion)
    assert f"it scored only {len(kept)} of the {len(known)} recordings" in reason


def test_missing_split_is_named(tmp_path: Path) -> None:
    champion = write(tmp_path, "champion")
    (split,) = (tmp_path / "splits").iterdir()
    (split / "provenance.json").unlink()
    with pytest.raises(FileNotFoundError, match=f"{split.name} is missing, which report {champion.name} was made with"):
        objections(champion, champion)


def test_epochs_chosen_on_the_validation_fold_are_counted(tmp_path: Path) -> None:
    assert find_selection(write(tmp_path, "last")) == []
    (reason,) = find_selection(write(tmp_path, "best", select="best"))
    assert "the epoch of 1 of its 2 models was chosen on the validation fold" in reason
    assert reason.endswith("set train.*.select=last")
