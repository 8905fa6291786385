"""Reads a user's CSV file as text, or says what in it a spreadsheet has written in another way."""

import codecs
import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_RETURN = re.compile(r"\r(?!\n)")
_LINE_END = re.compile(r"\r\n|\r|\n")
_SEPARATORS = ((b";", "semicolons"), (b"\t", "tabs"), (b"|", "vertical bars"))
_SPREADSHEET_LINE = re.compile(rb"\s*\"?sep=.?\"?\s*", re.IGNORECASE)
"""First line by which Excel learns the separator; other programs take it for the header."""


def read_csv_table(content: bytes, path: str, required: Sequence[str], keep: Sequence[str] = ()) -> pd.DataFrame:
    """Returns a table as text, without blank lines; the index of a row is the line in the file on which it begins.

    The first line is 1. Spaces around the names of columns are left out. A carriage return within a field becomes a
    line feed.

    Args:
        content: Bytes of the file.
        path: Name of the file, for messages.
        required: Columns that the table must have.
        keep: Columns in which carriage returns stay.

    Raises:
        ValueError: If the content is no comma-separated text in UTF-8, lacks a column or has it twice, or has no rows.
    """
    _check_zeros(content, path)
    _check_header(content, path, required)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows with more fields than the header
            table = pd.read_csv(
                io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False, skip_blank_lines=False
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        told = str(error).strip().rstrip(".")
        if isinstance(error, pd.errors.ParserWarning):
            told = "its rows have more fields than the header"
        wide = isinstance(error, pd.errors.ParserWarning) or "saw" in told
        quotes = " Put text and numbers that hold a comma, such as 40,39, in double quotes." if wide else ""
        raise ValueError(
            f"{path} is not a readable CSV file: {told}. Save the table as comma-separated values in UTF-8.{quotes}"
        ) from error
    _check_repeated(content, path)
    table.index = pd.Index(_lines_of_rows(content, table))
    table.columns = table.columns.str.strip().str.replace(_RETURN, "\n", regex=True)
    # the tables of a catalogue have no quotes around a carriage return, so for readers it would end a row
    if b"\r" in content.replace(b"\r\n", b""):
        others = table.columns.difference(list(keep))
        table[others] = table[others].replace(_RETURN, "\n", regex=True)
    table = table.fillna("")
    table = table[(table != "").any(axis=1)]  # the index keeps counting blank lines
    missing = [column for column in required if column not in table]
    if missing:
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}. Add the column(s), "
            "or rename the ones that hold these values."
        )
    if table.empty:
        raise ValueError(f"{path} has a header but no rows. Add one row per recording.")
    return table


def _check_zeros(content: bytes, path: str) -> None:
    """Refuse a text with zero bytes, as a disk that fails leaves them; UTF-16 has them too, and is told elsewhere."""
    place = content.find(b"\0")
    if place >= 0 and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        line = len(_LINE_END.findall(content[:place].decode(errors="replace"))) + 1
        raise ValueError(
            f"{path} is not a readable CSV file: line {line} holds a zero byte, so the file is damaged or no text. "
            "Bring it back from a backup, or correct the line and save the table as comma-separated values in UTF-8."
        )


def _check_repeated(content: bytes, path: str) -> None:
    """Refuse a table with two columns of one name; pandas would give the second one a number."""
    header = Counter(name.strip() for name in next(csv.reader([first_line(content).decode()]), []))
    if twice := sorted(name for name, count in header.items() if name and count > 1):
        raise ValueError(f"{path} has the column(s) {', '.join(twice)} more than once. Keep one of each.")


def _lines_of_rows(content: bytes, table: pd.DataFrame) -> NDArray[np.int64]:
    """Returns the line on which each row begins, (rows,); a field in quotes may go over several lines."""
    rows = np.arange(2, len(table) + 2)
    if content.count(b"\n") <= len(table) + 1:
        return rows
    within_header = sum(len(_LINE_END.findall(str(name))) for name in table.columns)
    within = np.zeros(len(table), np.int64)
    for column in table:
        within += table[column].fillna("").str.count(_LINE_END.pattern).to_numpy(np.int64)
    return rows + within_header + np.cumsum(within) - within


def read_header(content: bytes) -> list[str]:
    """Returns the names of the columns of a comma-separated table; empty if its first line is no text in UTF-8."""
    try:
        return list(pd.read_csv(io.BytesIO(first_line(content)), dtype=str, nrows=0).columns)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError):
        return []


def first_line(content: bytes) -> bytes:
    """Returns the first line of a text, without byte-order mark and line end."""
    return re.split(rb"[\r\n]", content.removeprefix(codecs.BOM_UTF8), maxsplit=1)[0]


def _check_header(content: bytes, path: str, required: Sequence[str]) -> None:
    """Refuse a table whose header names its columns, if another separator than the comma divides it."""
    header = first_line(content)
    if _SPREADSHEET_LINE.fullmatch(header):
        raise ValueError(f"{path} begins with the line {header.decode()!r}, which only Excel reads. Remove this line.")
    wanted = {column.encode() for column in required}

    def divide(separator: bytes) -> list[bytes]:
        return [column.strip(b" \"'") for column in header.split(separator)]

    if wanted <= set(divide(b",")):
        return
    for separator, name in _SEPARATORS:
        columns = divide(separator)
        if len(columns) > 1 and not wanted.isdisjoint(columns):
            raise ValueError(
                f"{path} separates its columns by {name}. Save it as comma-separated values in UTF-8, with numbers "
                "such as 40.39 and not 40,39."
            )
