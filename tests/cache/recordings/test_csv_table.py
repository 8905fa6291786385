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


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (b"primary_label,filename\n\na,1.ogg\n,\nb,2.ogg\n", [3, 5]),
        (b'primary_label,filename\n"a",1.ogg\n"b","2.ogg"\n', [2, 3]),
        (
            b'primary_label,filename,note\r\na,1.ogg,"x\r\ny\r\nz"\r\nb,2.ogg,\r\nc,3.ogg,"x\n"\r\nd,4.ogg,\r\n',
            [2, 5, 6, 8],
        ),
        (b'primary_label,filename,"long\nnote"\na,1.ogg,x\nb,2.ogg\n', [3, 4]),
    ],
)
def test_index_is_the_line_on_which_a_row_begins(table: bytes, lines: list[int]) -> None:
    assert list(read_csv_table(table, "t.csv", COLUMNS).index) == lines


def test_repeated_column_is_refused() -> None:
    assert "has the column(s) note more than once. Keep one of each." in refuse(
        "primary_label,filename,note, note\na,1.ogg,x,y\n"
    )


def test_columns_without_a_name_and_spaces_around_names_are_accepted() -> None:
    table = read_csv_table(b"primary_label, filename,,\na,1.ogg,,\n", "t.csv", COLUMNS)
    assert list(table["filename"]) == ["1.ogg"]


def test_header_of_a_table_and_of_other_files() -> None:
    assert read_header(b'\xef\xbb\xbf"a",b\r\n1,2\r\n') == ["a", "b"]
    assert read_header(b"") == []
    assert read_header(b"\xff\xfe\x00") == []
