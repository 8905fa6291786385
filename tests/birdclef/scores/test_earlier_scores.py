"""Reports, comparisons and decisions of a workspace, written by tests/builders; expected counts are made so."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from written_reports import list_recordings, write_report, write_split

from birdclef.scores.earlier_scores import EarlierScores, find_earlier_scores
from birdclef.scores.looks import Look, find_earlier, tell_look
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.records import add_record
from cache.workspace.workspace import Workspace

KNOWN = list_recordings()[:200]
LATER = "2999-01-01T00:00:00+00:00"


@pytest.fixture
def known() -> pd.DataFrame:
    """Recordings whose sha256 differ in their first digits, as true ones do."""
    return KNOWN.assign(sha256=[f"{number:016}" + "0" * 48 for number in range(len(KNOWN))])


def held_out(known: pd.DataFrame, number: int) -> list[str]:
    return [sha256[:16] for sha256 in known["sha256"][:number]]


def write(workspace: Path, name: str, recordings: pd.DataFrame) -> Path:
    return write_report(workspace, name, recordings, np.zeros(len(recordings), bool))[0]


def compare(workspace: Workspace, recordings: pd.DataFrame) -> Path:
    """Writes a comparison of one trial of one fold, with its predictions."""
    split = write_split(workspace, recordings)
    run = workspace.materialise(Recipe("runs", {"fold": 0}, {"split": artefact_key(split)}, 1), lambda _: None)

    def predict(staging: Path) -> None:
        recordings[recordings["fold"] == 0][["recording_id", "label"]].to_csv(staging / "recordings.csv", index=False)

    predictions = workspace.materialise(Recipe("predictions", {}, {"run": artefact_key(run)}, 1), predict)
    inputs = {"ce/1/0/0": "gone", "supcon/1/0/0": artefact_key(predictions)}
    return workspace.materialise(Recipe("comparisons", {}, inputs, 1), lambda _: None)


def look(recordings: list[str], **changes: Any) -> Look:
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    return Look(1, LATER, "own", "key", score, 0.5, tuple(recordings), **changes)


def test_reports_and_comparisons_that_scored_the_recordings_are_counted(known: pd.DataFrame, tmp_path: Path) -> None:
    workspace, twenty = Workspace(tmp_path), held_out(known, 20)
    own = write(tmp_path, "own", known[20:]).name
    assert find_earlier_scores(own, twenty, LATER, workspace) == EarlierScores(0, (), ())
    first = write(tmp_path, "first", known[5:12]).name
    assert find_earlier_scores(own, twenty, LATER, workspace) == EarlierScores(7, (f"report {first}",), ())
    comparison = compare(workspace, known).name
    validated = set(range(5, 12)) | set(np.flatnonzero(known["fold"][:20] == 0))
    found = find_earlier_scores(own, twenty, LATER, workspace)
    assert found.recordings == len(validated) > 7
    assert set(found.by) == {f"report {first}", f"comparison {comparison}"}
    assert find_earlier_scores(own, twenty, "2000-01-01T00:00:00+00:00", workspace) == EarlierScores(0, (), ())


def test_scores_that_other_machines_left_at_the_url_are_counted_without_a_copy_of_them(
    known: pd.DataFrame, tmp_path: Path, bucket_url: str
) -> None:
    first, second = (Workspace.open(bucket_url, tmp_path / name) for name in ("first", "second"))
    own = write(first.directory, "own", known[20:]).name
    report, comparison = write(first.directory, "first", known[5:12]).name, compare(first, known).name
    assert first.mirror
    first.mirror.send(first.directory, first.directory)
    (first.directory / "reports" / "half").mkdir()
    first.publish(first.directory / "reports" / "half" / "recordings.csv", b"")  # still on its way to the URL
    found = find_earlier_scores(own, held_out(known, 20), LATER, second)
    assert found == find_earlier_scores(own, held_out(known, 20), LATER, first)
    assert found.by == (f"report {report}", f"comparison {comparison}")
    assert sorted(path.parent.name for path in second.artefacts()) == ["catalogues", "splits"]


def test_reports_that_are_gone_are_named(known: pd.DataFrame, tmp_path: Path) -> None:
    add_record("models", 1, "gone", {"report": "gone"}, Workspace(tmp_path))
    found = find_earlier_scores("own", held_out(known, 20), LATER, Workspace(tmp_path))
    assert found == EarlierScores(0, (), ("gone",))
    told = tell_look(look(held_out(known, 20)), [], found)
    assert "Nobody can tell whether report gone scored some of them" in told
    assert "no choice" not in told


def test_sentence_says_how_many_recordings_were_scored_before(known: pd.DataFrame) -> None:
    first = look(held_out(known, 20), scored_before=9)
    clean, by = EarlierScores(0, (), ()), tuple(f"report {number}" for number in range(5))
    assert tell_look(look(held_out(known, 20)), [], clean).endswith("so no choice was made on them.")
    told = tell_look(first, find_earlier(first, [first]), EarlierScores(9, by, ()))
    assert "Recordings scored out of fold before: 9 of 20, by report 0, report 1, report 2 and 2 more" in told
    assert "no choice" not in told
    assert "set split.test_share from the first run on" in told
    assert "by a report or comparison that was removed since" in tell_look(first, [], clean)
