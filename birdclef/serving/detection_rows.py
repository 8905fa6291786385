"""Writes rows that a spreadsheet, a program and Raven read alike: CSV, or fields with tabs between them."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from birdclef.report.spreadsheet_fields import as_field


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
