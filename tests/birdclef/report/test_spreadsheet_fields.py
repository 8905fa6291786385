"""Fields as OWASP's page on CSV injection lists them."""

from pathlib import Path

import pandas as pd
import pytest

from birdclef.report.spreadsheet_fields import as_field, escape_fields


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("=1+1", "'=1+1"),
        ('@SUM(A1)*cmd|"/C calc"!A0', '\'@SUM(A1)*cmd|"/C calc"!A0'),
        ("-owl", "'-owl"),
        ("+a", "'+a"),
        ("\t=1", "'\t=1"),
        ("-5.5", "-5.5"),
        ("greegr", "greegr"),
        ("a=b", "a=b"),
        (Path("=1+1.wav"), "./=1+1.wav"),
        (Path("-a/b.wav"), "./-a/b.wav"),
        (Path("/data/=1.wav"), "/data/=1.wav"),
    ],
)
def test_no_field_is_a_formula_and_paths_lead_to_the_same_file(text: str | Path, field: str) -> None:
    assert as_field(text) == field


def test_numbers_and_gaps_of_a_table_stay() -> None:
    table = pd.DataFrame({"label": ["=a", "b"], "f1": [-0.5, None], "scored": [-1, 2]})
    escaped = escape_fields(table)
    assert escaped["label"].tolist() == ["'=a", "b"]
    pd.testing.assert_frame_equal(escaped[["f1", "scored"]], table[["f1", "scored"]])
