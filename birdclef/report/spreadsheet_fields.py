"""Keeps spreadsheets from taking text of users, such as labels and names of files, for formulas."""

import re
from pathlib import Path

import pandas as pd

_FORMULA = re.compile(r"[=+\-@\t\r]")
"""First character of a field that a spreadsheet may take for a formula (OWASP, CSV Injection)."""


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


def escape_fields(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table whose text is as `as_field` returns it; numbers stay."""
    return table.map(lambda value: as_field(value) if isinstance(value, str) else value)
