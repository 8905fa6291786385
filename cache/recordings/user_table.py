"""The user's table of recordings, checked: one row per audio file."""

import ast
import codecs
import io
import os
import re
import warnings
from pathlib import Path, PurePosixPath

import pandas as pd

from cache.config.data import DataConfig
from cache.recordings.missing_table import advise_on_table
from cache.recordings.table_columns import other_columns
from cache.workspace.urls import is_url, list_files, read_bytes, resolve_address

REQUIRED_COLUMNS = ("primary_label", "filename")
AUTHOR_COLUMN = "author"
"""Column of the recordists; it may be missing."""
_MAX_NAMED_ROWS = 5


def read_recordings(config: DataConfig) -> pd.DataFrame:
    """Returns the data set's recordings in the table's order.

    The columns are `recording_id` (the file's path below the audio folder), `label`, `secondary_labels`
    (space-separated, without the label itself), `recordist` (lower-cased author; empty if unknown), `size` and
    `version` of the file (see `scan_audio`), and every other column of the table as text. If the cache computes a
    column of the same name, the table's column is renamed to `table_NAME`.

    Raises:
        FileNotFoundError: If the data set's folder, table or audio folder is missing.
        ValueError: If the table has errors; one message lists each kind of error with its lines.
    """
    table = _read_table(config)
    files = scan_audio(audio_directory(config))
    problems = _find_problems(table, files, config.audio)
    if problems:
        raise ValueError(
            f"{_table_address(config)} cannot be used:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nCorrect or remove these rows (the header is line 1), and run again."
        )
    secondary = table.get("secondary_labels", pd.Series("[]", index=table.index))
    return pd.DataFrame(
        {
            "recording_id": table["filename"],
            "label": table["primary_label"],
            "secondary_labels": [
                " ".join(label for label in _parse_labels(text) if label != own)
                for text, own in zip(secondary, table["primary_label"], strict=True)
            ],
            "recordist": _recordists(table),
            "size": [files[name][0] for name in table["filename"]],
            "version": [files[name][1] for name in table["filename"]],
            **other_columns(table),
        }
    )


def read_labels(config: DataConfig) -> pd.DataFrame:
    """Returns recording_id, label, recordist and the other columns of the table, without a look at the audio files.

    The columns have the names and values that `read_recordings` gives them. Rows with errors are still there.

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


def scan_audio(directory: str) -> dict[str, tuple[int, str]]:
    """Returns size in bytes and version of every file below a folder or URL, by relative POSIX path.

    The version changes with the content. It is the modification time in ns, or a hash of an object store's entry.

    Raises:
        FileNotFoundError: If the folder does not exist, or the URL has no files.
    """
    files = list_files(directory) if is_url(directory) else _scan_folder(directory)
    if not files and (is_url(directory) or not Path(directory).is_dir()):
        raise FileNotFoundError(
            f"The audio folder {directory} does not exist. Set data.root to the folder that contains it, and "
            "data.audio to its name."
        )
    return files


def _scan_folder(directory: str) -> dict[str, tuple[int, str]]:
    files: dict[str, tuple[int, str]] = {}
    if not Path(directory).is_dir():
        return files
    pending = [(directory, "")]
    seen = set()  # a link may lead back to a folder above, which would never end
    while pending:
        folder, prefix = pending.pop()
        if (identity := os.path.realpath(folder)) in seen:
            continue
        seen.add(identity)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_file():  # false for a link to a file that does not exist
                    status = entry.stat()
                    files[f"{prefix}{entry.name}"] = (status.st_size, str(status.st_mtime_ns))
    return files


def _read_table(config: DataConfig) -> pd.DataFrame:
    path = _table_address(config)
    try:
        content = read_bytes(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(f"There is no table of recordings at {path}. {advise_on_table(config)}") from None
    _check_separator(content, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows with more fields than the header
            table = pd.read_csv(
                io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False, skip_blank_lines=False
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a readable CSV file: {error}. Save the table as comma-separated values in UTF-8."
        ) from error
    table = table[(table.fillna("") != "").any(axis=1)].fillna("")  # the index keeps counting blank lines
    if "filename" in table:
        table["filename"] = [name and str(PurePosixPath(name)) for name in table["filename"]]  # ./a.wav is a.wav
    missing = [column for column in REQUIRED_COLUMNS if column not in table]
    if missing:
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}. Add the column(s), "
            "or rename the ones that hold these values."
        )
    if table.empty:
        raise ValueError(f"{path} has a header but no rows. Add one row per recording.")
    return table


def _check_separator(content: bytes, path: str) -> None:
    """Refuse a table whose header names its columns, if another separator than the comma divides it."""
    header = re.split(rb"[\r\n]", content.removeprefix(codecs.BOM_UTF8), maxsplit=1)[0]
    required = {column.encode() for column in REQUIRED_COLUMNS}

    def divide(separator: bytes) -> list[bytes]:
        return [column.strip(b" \"'") for column in header.split(separator)]

    if required <= set(divide(b",")):
        return
    for separator, name in ((b";", "semicolons"), (b"\t", "tabs"), (b"|", "vertical bars")):
        columns = divide(separator)
        if len(columns) > 1 and not required.isdisjoint(columns):
            raise ValueError(f"{path} separates its columns by {name}. Save it as comma-separated values in UTF-8.")


def _table_address(config: DataConfig) -> str:
    return f"{resolve_address(config.root)}/{config.metadata}"


def _recordists(table: pd.DataFrame) -> pd.Series:
    authors: pd.Series = table.get(AUTHOR_COLUMN, pd.Series("", index=table.index))
    return authors.str.strip().str.lower()


def _find_problems(table: pd.DataFrame, files: dict[str, tuple[int, str]], audio: str) -> list[str]:
    """Returns one text per kind of problem, with the lines of the table that have the problem.

    Args:
        table: Table of recordings, as text.
        files: Size and version of each audio file, by relative path.
        audio: Name of the audio folder.
    """
    names = table["filename"]
    outside = names.map(_escapes)
    backslashed = ~outside & names.str.contains("\\", regex=False)
    prefixed = ~names.isin(files.keys()) & names.str.removeprefix(f"{audio}/").isin(files.keys())
    checks = {
        "primary_label is empty": table["primary_label"].str.strip() == "",
        "primary_label holds white space (write a code or House_Sparrow, and the name into common_name)": table[
            "primary_label"
        ].str.contains(r"\s", regex=True),
        "filename leads outside the audio folder": outside,
        "filename holds a backslash (write / between folders)": backslashed,
        f"filename begins with {audio}/, although it is a path below that folder": prefixed,
        "file not found in the audio folder": ~names.isin(files.keys()) & ~outside & ~prefixed & ~backslashed,
        "the same filename stands in an earlier row": names.duplicated(),
    }
    if "secondary_labels" in table:
        checks["secondary_labels is not a list such as ['abethr1', 'abhori1']"] = ~table["secondary_labels"].map(
            _is_label_list
        )
    problems = []
    for problem, wrong in checks.items():
        rows = table.index[wrong]
        if len(rows):
            named = ", ".join(f"line {row + 2} ({names[row]})" for row in rows[:_MAX_NAMED_ROWS])
            more = f" and {len(rows) - _MAX_NAMED_ROWS} more" if len(rows) > _MAX_NAMED_ROWS else ""
            problems.append(f"{problem}: {named}{more}")
    return problems


def _escapes(name: str) -> bool:
    path = PurePosixPath(name)
    return not name or path.is_absolute() or ".." in path.parts


def _parse_labels(text: str) -> list[str]:
    if not text.strip():
        return []
    labels = ast.literal_eval(text)
    if not isinstance(labels, list) or not all(isinstance(label, str) and label.split() == [label] for label in labels):
        raise ValueError(f"{text!r} is not a list of labels")
    return labels


def _is_label_list(text: str) -> bool:
    try:
        _parse_labels(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True
