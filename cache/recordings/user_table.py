"""The user's table of recordings, checked: one row per audio file."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cache.config.data import DataConfig
from cache.recordings.audio_files import FoundFiles, scan_audio
from cache.recordings.csv_table import read_csv_table
from cache.recordings.file_names import Reading, describe_readings, leads_outside, match_names, suggest_files
from cache.recordings.label_lists import describe_lists, parse_labels
from cache.recordings.missing_table import REQUIRED_COLUMNS, advise_on_audio, advise_on_table
from cache.recordings.table_columns import other_columns
from cache.workspace.urls import is_url, read_named, resolve_address

AUTHOR_COLUMN = "author"
"""Column of the recordists; it may be missing."""
_MAX_NAMED_ROWS = 5
_NOBODY = ("none", "nan", "null", "n/a")
"""Authors that name nobody, in lower case; `unknown` is one too (`cache.folds.groups`)."""
_SECONDARY_COLUMN = "secondary_labels"
_SCIENTIFIC_NAMES = ("scientific_name", "sci_name")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Control characters that are no white space."""
_CODE_COLUMNS = ("ebird_code",)
"""Columns that hold the codes of species in tables whose `primary_label` holds names, as in BirdCLEF 2020."""


@dataclass(frozen=True)
class UserTable:
    """The user's table, with the file of each row.

    Attributes:
        recordings: Table as `read_recordings` returns it.
        accepted: What the table writes in another way than the audio folder, with the number of rows; for the log.
    """

    recordings: pd.DataFrame
    accepted: Sequence[str]


def read_recordings(config: DataConfig) -> pd.DataFrame:
    """Returns the data set's recordings in the table's order.

    The columns are `recording_id` (the file's path below the audio folder), `label`, `secondary_labels`
    (space-separated, without the label itself), `recordist` (lower-cased author; empty if unknown), `size` and
    `version` of the file (see `FoundFiles`), and every other column of the table as text. If the cache computes a
    column of the same name, the table's column is renamed to `table_NAME`.

    Raises:
        FileNotFoundError: If the data set's folder, table or audio folder is missing.
        ValueError: If the table has errors; one message lists each kind of error with its lines.
    """
    return read_user_table(config).recordings


def read_user_table(config: DataConfig) -> UserTable:
    """Returns `read_recordings` with what was accepted; raises as it does."""
    table = _read_table(config)
    audio = audio_directory(config)
    found = scan_audio(audio)
    if not found.files and (is_url(audio) or not Path(audio).is_dir()):
        raise FileNotFoundError(f"The audio folder {audio} does not exist. {advise_on_audio(config)}")
    matches = match_names(list(table["filename"]), list(table["primary_label"]), found.files, audio, config.audio)
    secondary = _read_secondary(table)
    if problems := _find_problems(table, matches, found, secondary):
        raise ValueError(
            f"{table_address(config)} cannot be used:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nCorrect or remove these rows (the header is line 1), and run again."
        )
    names = [one.file for (one,) in matches]
    recordings = pd.DataFrame(
        {
            "recording_id": names,
            "label": table["primary_label"],
            "secondary_labels": [
                " ".join(label for label in dict.fromkeys(labels or ()) if label != own)
                for labels, own in zip(secondary, table["primary_label"], strict=True)
            ],
            "recordist": _recordists(table),
            "size": [found.files[name][0] for name in names],
            "version": [found.files[name][1] for name in names],
            **other_columns(table),
        },
        index=table.index,
    )
    accepted = describe_readings(one for (one,) in matches) + _describe_alike(table["primary_label"])
    if _SECONDARY_COLUMN in table:
        accepted += describe_lists(table[_SECONDARY_COLUMN], secondary)
    return UserTable(recordings, accepted)


def read_labels(config: DataConfig) -> pd.DataFrame:
    """Returns recording_id, label, recordist and the other columns of the table, without a look at the audio files.

    The columns have the names and values that `read_recordings` gives them, but `recording_id` is as the table writes
    the file's name. Rows with errors are still there.

    Raises:
        FileNotFoundError: If the table is missing.
        ValueError: If the table is not readable, has no rows, or lacks a required column.
    """
    table = _read_table(config)
    return pd.DataFrame(
        {
            "recording_id": table["filename"],
            "label": table["primary_label"],
            "recordist": _recordists(table),
            **other_columns(table),
        }
    )


def audio_directory(config: DataConfig) -> str:
    """Returns the absolute path or the URL of the audio folder; recording ids are paths below it."""
    return f"{resolve_address(config.root)}/{config.audio}"


def recording_address(audio: str, recording_id: str) -> str:
    """Returns the path or URL of a recording's file.

    Args:
        audio: Path or URL of the audio folder, from `audio_directory`.
        recording_id: Path of the file below the audio folder.
    """
    return f"{audio}/{recording_id}"


def _read_table(config: DataConfig) -> pd.DataFrame:
    path = table_address(config)
    try:
        content = read_named(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(f"There is no table of recordings at {path}. {advise_on_table(config)}") from None
    table = read_csv_table(content, path, REQUIRED_COLUMNS, keep=REQUIRED_COLUMNS)
    return table.assign(primary_label=table["primary_label"].str.strip(" "))


def table_address(config: DataConfig) -> str:
    """Returns the path or URL of the table."""
    return f"{resolve_address(config.root)}/{config.metadata}"


def _recordists(table: pd.DataFrame) -> pd.Series:
    authors: pd.Series = table.get(AUTHOR_COLUMN, pd.Series("", index=table.index))
    plain = authors.str.strip().str.lower()
    return plain.mask(plain.isin(_NOBODY), "")


def _read_secondary(table: pd.DataFrame) -> list[list[str] | None]:
    """Returns the secondary labels of each row; None if a row has no list of labels."""
    texts = table.get(_SECONDARY_COLUMN, pd.Series("", index=table.index))
    label_of = _name_species(table)
    read: dict[str, list[str] | None] = {}
    for text in set(texts):
        try:
            read[text] = parse_labels(text, label_of)
        except ValueError:
            read[text] = None
    return [read[text] for text in texts]


def _name_species(table: pd.DataFrame) -> dict[str, str]:
    """Returns the label of each scientific name, in lower case, that belongs to one label only."""
    for column in _SCIENTIFIC_NAMES:
        if column in table:
            names = table[column].str.strip().str.lower()
            labels = table.groupby(names)["primary_label"].agg(["first", "nunique"])
            return {str(name): str(label) for name, label in labels.loc[labels["nunique"] == 1, "first"].items()}
    return {}


def _describe_alike(labels: pd.Series) -> list[str]:
    """Returns a text for labels that differ in nothing that a reader sees, or in capitals only.

    They may be one species written in two ways. They are told with the first line of each, and with escapes for letters
    beyond ASCII if all of them look alike.

    Args:
        labels: Label of each row; the index holds the lines.
    """
    lines = {label: line for line, label in reversed(list(labels.items()))}
    written: dict[str, list[str]] = {}
    for label in sorted(lines):
        written.setdefault(_as_seen(label).casefold(), []).append(label)
    return [
        " and ".join(
            f"{ascii(label) if len(set(map(_as_seen, same))) == 1 else label} (line {lines[label]})" for label in same
        )
        + f" count as {len(same)} species"
        for same in written.values()
        if len(same) > 1
    ]


def _as_seen(label: str) -> str:
    """Returns a label in one Unicode form, without characters that nobody sees, such as a space of no width."""
    visible = "".join(letter for letter in label if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", visible)


def _find_problems(
    table: pd.DataFrame, matches: Sequence[Sequence[Reading]], found: FoundFiles, secondary: Sequence[list[str] | None]
) -> list[str]:
    """Returns one text per kind of problem, with the lines of the table that have the problem.

    Args:
        table: Table of recordings, as text.
        matches: Readings of each row's name.
        found: Files of the audio folder.
        secondary: Secondary labels of each row; None: the row has no list of labels.
    """
    names = table["filename"]
    lost = pd.Series([len(readings) != 1 for readings in matches], table.index)
    special = names.isin(found.special)
    lost &= ~names.str.contains("\r")
    empty = names.str.strip() == ""
    outside = lost & ~empty & names.map(leads_outside)
    files = pd.Series([readings[0].file if readings else "" for readings in matches], table.index)
    codes = next((f" (the column {column} seems to hold codes)" for column in _CODE_COLUMNS if column in table), "")
    checks = {
        "primary_label is empty": table["primary_label"].str.strip() == "",
        "primary_label holds white space (write a code or House_Sparrow, and the name into common_name)" + codes: table[
            "primary_label"
        ].str.contains(r"\s", regex=True),
        "primary_label holds a control character": table["primary_label"].str.contains(_CONTROL),
        "filename is empty": empty,
        "filename leads outside the audio folder": outside,
        "filename holds a carriage return, which tables cannot hold (rename the file)": names.str.contains("\r"),
        "filename is a FIFO, a socket or a device, which is never opened": special,
        "file not found in the audio folder": lost & ~empty & ~outside & ~special,
        "the same filename stands in an earlier row": ~lost & files.where(~lost).duplicated(),
        "secondary_labels is not a list such as ['abethr1', 'abhori1']": pd.Series(
            [labels is None for labels in secondary], table.index
        ),
    }
    problems = []
    hints = {row: readings for row, readings in zip(table.index, matches, strict=True) if len(readings) != 1}
    for problem, wrong in checks.items():
        rows = table.index[wrong]
        if len(rows):
            named = [
                f"line {row} ({names[row]}"
                + (suggest_files(names[row], hints[row], found.files) if problem.startswith("file not") else "")
                + ")"
                for row in rows[:_MAX_NAMED_ROWS]
            ]
            more = f" and {len(rows) - _MAX_NAMED_ROWS} more" if len(rows) > _MAX_NAMED_ROWS else ""
            problems.append(f"{problem}: {', '.join(named)}{more}")
    return problems
