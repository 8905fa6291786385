"""Groups of recordings that stay together: by recordist, place or any column, and duplicates."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cache.recordings.table_columns import RESERVED_COLUMNS, TAKE_COLUMNS, further_columns

RECORDIST = "recordist"
RECORDIST_AND_PLACE = "recordist+place"
RECORDING = "recording"
UNKNOWN_RECORDISTS = ("", "unknown")
_NO_COORDINATE = ("", "none", "nan", "null", "n/a", "na", "unknown", "?")
PLACE_DEGREES = 0.1
"""Side of a square cell of latitude and longitude, about 11 km; recordings in one cell are from one place."""

PINNED_FOLD = -1
"""Fold of a recording that is always in training."""

TEST_FOLD = -2
"""Fold of a recording that is held out from training and validation."""


def group_recordings(recordings: pd.DataFrame, group_by: str = RECORDIST) -> NDArray[np.int64]:
    """Returns the group of each recording, (recordings,); a group is never divided between training and validation.

    Two recordings share a group if they have the same value of `group_by`, the same sound, or the same label, recordist
    and duration. An unknown recordist, or an empty value in the column, counts as different from all others.

    Args:
        recordings: recording_id, label, recordist, sound, seconds, and the columns that `group_by` needs.
        group_by: `recordist`, `recordist+place`, `recording`, or the name of a column.

    Raises:
        ValueError: If the table lacks a column that `group_by` needs.
    """
    itself = np.arange(len(recordings))
    value, unknown = _values_to_share(recordings, group_by)
    keys = [
        np.where(unknown, len(recordings) + itself, pd.factorize(value)[0]),
        pd.factorize(recordings["sound"])[0],
        recordings.groupby(list(TAKE_COLUMNS), sort=False).ngroup().to_numpy(),
    ]
    rows, nodes, offset = [], [], len(recordings)
    for key in keys:
        rows.append(itself)
        nodes.append(key + offset)
        offset += 2 * len(recordings)
    edges = coo_array(
        (np.ones(len(recordings) * len(keys)), (np.concatenate(rows), np.concatenate(nodes))), shape=(offset, offset)
    )
    component = connected_components(edges, directed=False)[1][: len(recordings)]
    return pd.factorize(component)[0].astype(np.int64)


def is_validated(fold: pd.Series) -> pd.Series:
    """Returns which recordings belong to a validation fold."""
    return fold >= 0


def is_trained_on(fold: pd.Series, validation_fold: int) -> pd.Series:
    """Returns which recordings are in the training set of a validation fold."""
    return (fold != validation_fold) & (fold != TEST_FOLD)


def is_held_out(fold: pd.Series) -> pd.Series:
    """Returns which recordings are held out from training and validation."""
    return fold == TEST_FOLD


def share_known_to_training(recordings: pd.DataFrame, fold: NDArray[np.int64]) -> float:
    """Returns the share of held-out recordings whose recordist has recordings of the same species in training.

    Args:
        recordings: label and recordist.
        fold: Fold of each recording, (recordings,); -2: held out.
    """
    held_out = fold == TEST_FOLD
    pair = recordings.groupby(["label", "recordist"], sort=False).ngroup().to_numpy()
    known = np.isin(pair, pair[~held_out]) & ~is_unknown(recordings["recordist"])
    return round(float(known[held_out].mean()), 4) if held_out.any() else 0.0


def table_column(recordings: pd.DataFrame, name: str, setting: str) -> pd.Series:
    """Returns a column of the user's table; `table_NAME` if the cache computes a column of the same name.

    Raises:
        ValueError: If there is no such column; the message names the setting.
    """
    column = f"table_{name}" if name in RESERVED_COLUMNS else name
    if column in recordings:
        return recordings[column]
    columns = further_columns(recordings)
    advice = f"Set {setting} to one of its further columns: {', '.join(columns)}" if columns else "Add the column"
    raise ValueError(f"{setting}={name!r}: the table of recordings has no such column. {advice}.")


def _values_to_share(recordings: pd.DataFrame, group_by: str) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Returns the value that recordings of one group share, and which recordings have no known value."""
    if group_by in (RECORDIST, RECORDIST_AND_PLACE):
        recordist = recordings["recordist"]
        place = _place(recordings) if group_by == RECORDIST_AND_PLACE else ""
        return recordist + place, is_unknown(recordist)
    if group_by == RECORDING:
        return recordings["recording_id"], np.ones(len(recordings), bool)
    column = table_column(recordings, group_by, "split.group_by")
    return column, (column == "").to_numpy(bool)


def _place(recordings: pd.DataFrame) -> pd.Series:
    """Returns the cell of each recording as text; all recordings without coordinates share one cell."""
    missing = [name for name in ("latitude", "longitude") if name not in recordings]
    if missing:
        raise ValueError(
            f"split.group_by={RECORDIST_AND_PLACE!r} needs {' and '.join(missing)}, which the table lacks. "
            f"Add the column(s), or set split.group_by={RECORDIST}."
        )
    degrees = pd.concat([_degrees(recordings, name) for name in ("latitude", "longitude")], axis=1)
    cells = degrees.apply(lambda column: np.floor(column / PLACE_DEGREES))
    cell = cells.astype("Int64").astype(str).fillna("none")
    place: pd.Series = "@" + cell["latitude"] + "," + cell["longitude"]
    return place


def _degrees(recordings: pd.DataFrame, name: str) -> pd.Series:
    """Returns latitudes or longitudes, in degrees; NaN where the table states none.

    Raises:
        ValueError: If a value is neither a number nor missing.
    """
    column = recordings[name]
    degrees = pd.to_numeric(column, errors="coerce")
    wrong = column[degrees.isna() & ~column.str.strip().str.lower().isin(_NO_COORDINATE)]
    if wrong.empty:
        return degrees
    comma = wrong.str.fullmatch(r"\s*[-+]?\d+,\d+\s*").all()
    remedy = "Write a point for the decimal comma" if comma else "Write degrees such as 40.39, or leave the field empty"
    raise ValueError(
        f"The column {name} of the table holds {wrong.iloc[0]!r} for {recordings.loc[wrong.index[0], 'recording_id']}, "
        f"which is no number; rows concerned: {len(wrong)}. {remedy}, or set split.group_by={RECORDIST}."
    )


def is_unknown(recordist: pd.Series) -> NDArray[np.bool_]:
    """Returns which recordings have no known recordist, (recordings,)."""
    return recordist.isin(UNKNOWN_RECORDISTS).to_numpy(bool)
