"""Names of columns: in the user's table, and in the tables that the cache makes of it."""

import pandas as pd

RESERVED_COLUMNS = (
    *("recording_id", "label", "secondary_labels", "recordist", "size", "version"),
    *("sha256", "frames", "seconds", "sound", "label_index", "fold", "group"),
)
"""Columns that the cache computes; a column of the user's table with such a name gets the prefix `table_`."""

TAKE_COLUMNS = ("label", "recordist", "seconds")
"""Recordings with the same values in these columns are likely to be one take, so they are paired and stay together."""


def other_columns(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Returns the columns that the cache does not read, by the names that they get in the catalogue."""
    others = table.drop(columns=["primary_label", "secondary_labels", "filename"], errors="ignore")
    return {f"table_{column}" if column in RESERVED_COLUMNS else str(column): others[column] for column in others}


def name_in_table(column: str) -> str:
    """Returns a column's name in the user's table; the cache renames columns that have the name of its own columns."""
    original = column.removeprefix("table_")
    return original if original in RESERVED_COLUMNS else column


def further_columns(recordings: pd.DataFrame) -> list[str]:
    """Returns the columns of the user's table that the cache does not read, by the names that they have there.

    Args:
        recordings: Table from `read_labels` or `read_recordings`, or a table made from these, such as a catalogue.
    """
    return [name_in_table(str(column)) for column in recordings if column not in RESERVED_COLUMNS]
