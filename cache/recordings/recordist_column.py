"""Finds the column of a user's table that seems to name the recordists, if the table has no column `author`."""

import re

import pandas as pd

from cache.recordings.table_columns import name_in_table
from cache.recordings.user_table import AUTHOR_COLUMN

_NAMES = (
    "author",
    "authors",
    "recordist",
    "recordists",
    "recordistname",
    "recordedby",
    "recorder",
    "rec",
    "collector",
    "collectors",
    "collectedby",
    "observer",
    "observers",
    "contributor",
    "creator",
    "user",
    "username",
    "userlogin",
    "rightsholder",
    "uploader",
    "owner",
)
"""Names of such a column without capitals and punctuation, the likeliest first.

`rec` is xeno-canto's, `recordedBy` and `rightsHolder` are Darwin Core's, `user_login` is iNaturalist's, and `recordist`
is the Macaulay Library's.
"""
_HINT = re.compile("author|recordist|recordedby|collector|observer")


def advise_on_author(table: pd.DataFrame) -> str:
    """Returns what the user of a table without authors can do, as a sentence without a full stop.

    Args:
        table: Table from `read_labels`.
    """
    others = table.drop(columns=["recording_id", "label", "recordist"]).rename(columns=name_in_table)
    likely = find_recordist_column(others)
    if likely is None:
        return f"Add a column {AUTHOR_COLUMN} if you know who made the recordings"
    return f"The column {likely} seems to name them: rename it to {AUTHOR_COLUMN}"


def find_recordist_column(table: pd.DataFrame) -> str | None:
    """Returns the likeliest column of recordists, by its name; None if no column has such a name and any value.

    Args:
        table: Table of recordings, as text.
    """
    plain = {str(column): _plain(str(column)) for column in table if (table[column].str.strip() != "").any()}
    named = [column for name in _NAMES for column in plain if plain[column] == name]
    hinted = [column for column in plain if _HINT.search(plain[column])]
    return next(iter(named + hinted), None)


def _plain(column: str) -> str:
    """Returns a name without capitals and punctuation."""
    return re.sub("[^a-z]", "", column.lower())
