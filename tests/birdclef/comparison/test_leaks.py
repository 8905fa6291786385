"""Leaks of two reports, which tests/builders writes, held to a plain loop over what either table knows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written_reports import list_recordings, write_report

from birdclef.comparison.leaks import measure_leaks
from cache.folds.overlap import Overlap
from cache.workspace.workspace import Workspace

NUMBER = 300


def draw(generator: np.random.Generator, kept: float) -> pd.DataFrame:
    """Returns recordings in random folds, some trained on or held out; recordists and copies are known for a share."""
    table = list_recordings()[:NUMBER]
    truth = np.random.default_rng(1)
    recordist, sound = (truth.integers(number, size=NUMBER) for number in (60, 250))
    known = generator.random((2, NUMBER)) < kept
    return table.assign(
        fold=generator.integers(-2, 3, size=NUMBER),
        label=table["label"].str[:2],
        recordist=np.where(known[0], [f"r{number}" for number in recordist], ""),
        sound=np.where(known[1], [f"sound {number}" for number in sound], table["recording_id"]),
    )


def count_by_hand(table: pd.DataFrame, elsewhere: pd.DataFrame, among: set[str]) -> Overlap:
    rows, there = table.to_dict("records"), {one["sha256"]: one for one in elsewhere.to_dict("records")}
    counts = [0, 0, 0, 0]
    for one in rows:
        if one["sha256"] not in among:
            continue
        trained = [other for other in rows if other["fold"] not in (one["fold"], -2) and other["label"] == one["label"]]

        def names(row: dict[str, str]) -> set[str]:
            return {row["recordist"], there[row["sha256"]]["recordist"]} - {""}

        def alike(first: dict[str, str], other: dict[str, str]) -> bool:
            other_there, first_there = there[other["sha256"]], there[first["sha256"]]
            return first["sound"] == other["sound"] or first_there["sound"] == other_there["sound"]

        counts[0] += 1
        counts[1] += bool(names(one))
        counts[2] += any(names(one) & names(other) for other in trained)
        counts[3] += any(alike(one, other) for other in trained)
    return Overlap(*counts)


@pytest.mark.parametrize("kept", [(1.0, 1.0), (0.5, 0.7), (0.0, 1.0)])
def test_leaks_are_counted_with_what_either_table_knows(kept: tuple[float, float], tmp_path: Path) -> None:
    tables = [draw(np.random.default_rng(seed), share) for seed, share in enumerate(kept)]
    scored = [table[table["fold"] >= 0].reset_index(drop=True) for table in tables]
    reports = [
        write_report(tmp_path, str(index), own, np.zeros(len(own), bool), usable=table)[0]
        for index, (own, table) in enumerate(zip(scored, tables, strict=True))
    ]
    common = set(scored[0]["sha256"]) & set(scored[1]["sha256"])
    measured = measure_leaks(*reports, Workspace(tmp_path))
    for leaks, own, table, elsewhere in zip(measured, scored, tables, tables[::-1], strict=True):
        assert leaks.scored == count_by_hand(table, elsewhere, set(own["sha256"]))
        assert leaks.common == count_by_hand(table, elsewhere, common)
        assert 0 < leaks.common.same_sound < leaks.scored.recordings


def test_files_with_the_same_bytes_are_one_recording(tmp_path: Path) -> None:
    known = list_recordings()[:NUMBER]
    twice = known.assign(recording_id="again " + known["recording_id"], sound=known["recording_id"], fold=-1)
    usable = pd.concat([known.assign(sound=known["recording_id"]), twice], ignore_index=True)
    wrong = np.zeros(NUMBER, bool)
    before, _ = write_report(tmp_path, "before", known, wrong)
    after, _ = write_report(tmp_path, "after", known, wrong, usable=usable)
    own, others = measure_leaks(after, before, Workspace(tmp_path))
    assert (own.common.recordings, own.common.same_sound, others.common.same_sound) == (NUMBER, NUMBER, 0)
