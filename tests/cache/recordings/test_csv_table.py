"""Tables as spreadsheets save them."""

import pytest

from cache.recordings.csv_table import read_csv_table, read_header

COLUMNS = ("primary_label", "filename")


def refuse(table: str) -> str:
    with pytest.raises(ValueError) as caught:
        read_csv_table(table.encode(), "t.csv", COLUMNS)
    return str(caught.value)


@pytest.mark.parametrize("line", ["sep=,", '"sep=,"', "sep=;", "SEP=,"])
def test_line_that_only_excel_reads_is_named(line: str) -> None:
    told = refuse(f"\ufeff{line}\r\nprimary_label,filename\r\nb,x/1.ogg\r\n")
    assert "which only Excel reads. Remove this line." in told


@pytest.mark.parametrize(
    ("rows", "where"),
    [("b,x/1.ogg,\nb,x/2.ogg,40,39\n", "line 3"), ("b,x/1.ogg,40,39\n", "more fields than the header")],
)
def test_decimal_comma_without_quotes_is_named(rows: str, where: str) -> None:
    told = refuse(f"primary_label,filename,latitude\n{rows}")
    assert where in told
    assert "such as 40,39, in double quotes" in told


def test_semicolons_are_told_with_the_form_of_numbers() -> None:
    assert "numbers such as 40.39 and not 40,39" in refuse("primary_label;filename;latitude\nb;x/1.ogg;40,39\n")


def test_index_is_the_line_less_two() -> None:
    table = read_csv_table(b"primary_label,filename\n\na,1.ogg\n,\nb,2.ogg\n", "t.csv", COLUMNS)
    assert list(table.index) == [1, 3]


def test_header_of_a_table_and_of_other_files() -> None:
    assert read_header(b'\xef\xbb\xbf"a",b\r\n1,2\r\n') == ["a", "b"]
    assert read_header(b"") == []
    assert read_header(b"\xff\xfe\x00") == []
