"""Fields as OWASP's page on CSV injection lists them, read back by Python and by pandas."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from birdclef.serving.detection_rows import RowWriter, as_field


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


def test_carriage_return_ends_no_row() -> None:
    stream = io.StringIO(newline="")
    rows = RowWriter(stream)
    for row in (["a", "b"], ["one\rtwo", 1], ["x", 2]):
        rows.write(row)
    text = stream.getvalue()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], ["one\rtwo", "1"], ["x", "2"]]
    assert pd.read_csv(io.StringIO(text, newline=""))["a"].tolist() == ["one\rtwo", "x"]
