"""Writes rows that a spreadsheet, a program and Raven read alike: CSV, or fields with tabs between them."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

_FORMULA = re.compile(r"[=+\-@\t\r]")
"""First character of a field that a spreadsheet may take for a formula (OWASP, CSV Injection)."""


class RowWriter:
    """Writes rows to a stream; a field with a carriage return is quoted, because readers take it for a line end."""

    def __init__(self, stream: TextIO, delimiter: str = ",") -> None:
        self._plain = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        self._quoted = csv.writer(stream, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(self, fields: Iterable[object]) -> None:
        """Write a row; paths and text that a spreadsheet would take for a formula are written as `as_field` says."""
        row = [as_field(field) if isinstance(field, str | Path) else field for field in fields]
        broken = any("\r" in field for field in row if isinstance(field, str))
        (self._quoted if broken else self._plain).writerow(row)


def as_field(text: str | Path) -> str:
    """Returns text that no spreadsheet takes for a formula: an apostrophe is put before it, `./` before a path."""
    field = str(text)
    if not _FORMULA.match(field) or _is_number(field):
        return field
    return f"./{field}" if isinstance(text, Path) else f"'{field}"


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
