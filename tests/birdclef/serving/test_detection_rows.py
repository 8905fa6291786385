"""Rows that Python and pandas read back."""

import csv
import io

import pandas as pd

from birdclef.serving.detection_rows import RowWriter


def test_carriage_return_ends_no_row() -> None:
    stream = io.StringIO(newline="")
    rows = RowWriter(stream)
    for row in (["a", "b"], ["one\rtwo", 1], ["x", 2]):
        rows.write(row)
    text = stream.getvalue()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], ["one\rtwo", "1"], ["x", "2"]]
    assert pd.read_csv(io.StringIO(text, newline=""))["a"].tolist() == ["one\rtwo", "x"]
