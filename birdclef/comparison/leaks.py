"""Counts the leaks of two reports by the recordists and duplicates that the table of either one knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.scores.lineage import read_usable_recordings
from cache.folds.groups import is_unknown
from cache.folds.overlap import Overlap, lies_in_several_folds
from cache.workspace.workspace import Workspace

_RECORDING = ["sha256", "label"]


@dataclass(frozen=True)
class Leaks:
    """What the models of a report saw of recordings that they scored. Only copies of the same species are counted.

    Attributes:
        scored: Over all recordings that the report scored.
        common: Over the recordings that the other report scored under the same label, too.
    """

    scored: Overlap
    common: Overlap


def measure_leaks(report: Path, other: Path, workspace: Workspace) -> list[Leaks]:
    """Returns the leaks of a report and of another one.

    A recordist may be known to only one of both tables, because the column was added or lost in between. Duplicates may
    be found in only one of both catalogues. So each report's leaks are counted with what either table says about its
    recordings, which are known by their sha256. Else folds that are the same would seem to leak differently.

    Args:
        report: Directory of the report.
        other: Directory of the report that it is compared with.
        workspace: Where the splits of both lie.

    Raises:
        FileNotFoundError: If the split or the catalogue of a report is missing.
    """
    tables = [read_usable_recordings(one, workspace) for one in (report, other)]
    marked = [_mark_leaks(table, elsewhere) for table, elsewhere in zip(tables, tables[::-1], strict=True)]
    scored = [pd.read_csv(one / "recordings.csv", dtype=str, keep_default_na=False) for one in (report, other)]
    rows = [
        one[one["recording_id"].isin(own["recording_id"])].drop(columns="recording_id")
        for one, own in zip(marked, scored, strict=True)
    ]
    each = [one.groupby(_RECORDING).any() for one in rows]  # files with the same bytes are one recording
    return [
        Leaks(_count(own), _count(own[own.index.isin(others.index)]))
        for own, others in zip(each, each[::-1], strict=True)
    ]


def _mark_leaks(table: pd.DataFrame, elsewhere: pd.DataFrame) -> pd.DataFrame:
    """Returns what the models saw of each recording: recording_id, sha256, label, known, same_recordist, same_sound.

    Args:
        table: Usable recordings of a report.
        elsewhere: Usable recordings of the report that it is compared with.
    """
    known = elsewhere[~is_unknown(elsewhere["recordist"])]
    here, there = table["recordist"], _look_up(table, known, "recordist")
    recordists = [here.where(~is_unknown(here), there), there.where(~is_unknown(there), here)]
    sounds = [table["sound"], _look_up(table, elsewhere, "sound")]
    return table[["recording_id", *_RECORDING]].assign(
        known=~is_unknown(recordists[0]),
        same_recordist=_is_trained_on(table, recordists),
        same_sound=_is_trained_on(table, sounds),
    )


def _look_up(table: pd.DataFrame, elsewhere: pd.DataFrame, column: str) -> pd.Series:
    """Returns the value of another table for each recording of a table; empty if the other table has none."""
    values = elsewhere.drop_duplicates("sha256").set_index("sha256")[column]
    return pd.Series(values.reindex(table["sha256"], fill_value="").to_numpy(), index=table.index)


def _is_trained_on(table: pd.DataFrame, values: Sequence[pd.Series]) -> NDArray[np.bool_]:
    """Returns which recordings share a known value, of any of `values`, with one of their species in training."""
    fold = table["fold"].to_numpy("int64")
    each = [lies_in_several_folds(table["label"] + "\t" + value, fold, ~is_unknown(value)) for value in values]
    trained_on: NDArray[np.bool_] = np.any(each, axis=0)  # (recordings,)
    return trained_on


def _count(recordings: pd.DataFrame) -> Overlap:
    counts = (int(recordings[name].sum()) for name in ("known", "same_recordist", "same_sound"))
    return Overlap(len(recordings), *counts)
