import io
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cache.config.data import DataConfig
from cache.recordings.audio_files import scan_audio
from cache.recordings.class_list import find_species_without_recordings
from cache.recordings.user_table import audio_directory, read_recordings, read_user_table, recording_address

Prepare = Callable[[bytes | str], DataConfig]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Writes a table beside an audio folder with `x/1.ogg` ... `x/9.ogg`; returns the data set's configuration."""

    def write(table: bytes | str) -> DataConfig:
        folder = tmp_path / "train_audio" / "x"
        folder.mkdir(parents=True)
        for number in range(1, 10):
            (folder / f"{number}.ogg").write_bytes(b"a" * number)
        (tmp_path / "train_metadata.csv").write_bytes(table.encode() if isinstance(table, str) else table)
        return DataConfig(root=str(tmp_path))

    return write


def refusal(config: DataConfig) -> str:
    with pytest.raises(ValueError) as caught:
        read_recordings(config)
    return str(caught.value)


def test_rows_come_in_the_order_of_the_table(prepare: Prepare, tmp_path: Path) -> None:
    config = prepare("primary_label,filename\nbird2,x/3.ogg\nbird1,x/1.ogg\nbird2,x/2.ogg\n")
    recordings = read_recordings(config)
    assert list(recordings["recording_id"]) == ["x/3.ogg", "x/1.ogg", "x/2.ogg"]
    assert list(recordings["label"]) == ["bird2", "bird1", "bird2"]
    assert list(recordings["size"]) == [3, 1, 2]
    assert recordings["version"].iloc[0] == str((tmp_path / "train_audio" / "x" / "3.ogg").stat().st_mtime_ns)


def test_missing_optional_columns_are_empty(prepare: Prepare) -> None:
    recordings = read_recordings(prepare("primary_label,filename\nbird1,x/1.ogg\n"))
    assert list(recordings["secondary_labels"]) == [""]
    assert list(recordings["recordist"]) == [""]


def test_extra_columns_are_kept_as_text(prepare: Prepare) -> None:
    recordings = read_recordings(
        prepare("rating,filename,primary_label,site\n4.50,x/1.ogg,bird1,007\nNA,x/2.ogg,bird1,\n")
    )
    assert list(recordings["rating"]) == ["4.50", "NA"]
    assert list(recordings["site"]) == ["007", ""]


def test_recordist_is_the_author_lower_cased_without_outer_space(prepare: Prepare) -> None:
    recordings = read_recordings(
        prepare("primary_label,filename,author\nb,x/1.ogg, Zoë ÅBERG \nb,x/2.ogg,zoë åberg\nb,x/3.ogg,\n")
    )
    assert list(recordings["recordist"]) == ["zoë åberg", "zoë åberg", ""]
    assert list(recordings["author"]) == [" Zoë ÅBERG ", "zoë åberg", ""]


def test_secondary_labels_leave_out_the_label_itself(prepare: Prepare) -> None:
    recordings = read_recordings(
        prepare(
            "primary_label,filename,secondary_labels\n"
            "b,x/1.ogg,\"['a', 'b', 'c']\"\nb,x/2.ogg,[]\nb,x/3.ogg,\nb,x/4.ogg,\"['b']\"\n"
        )
    )
    assert list(recordings["secondary_labels"]) == ["a c", "", "", ""]


def test_repeated_secondary_label_counts_once(prepare: Prepare) -> None:
    recordings = read_recordings(prepare("primary_label,filename,secondary_labels\na,x/1.ogg,c;b;c\n"))
    assert list(recordings["secondary_labels"]) == ["c b"]


def test_labels_that_differ_in_capitals_are_told(prepare: Prepare) -> None:
    table = read_user_table(prepare("primary_label, filename\nBird, x/1.ogg\n bird, x/2.ogg\n"))
    assert list(table.recordings["label"]) == ["Bird", "bird"]
    assert "Bird (line 2) and bird (line 3) count as 2 species" in table.accepted


def test_labels_that_look_alike_are_told_with_their_lines(prepare: Prepare) -> None:
    rows = ("sp\u00e9,x/1.ogg", "spe\u0301,x/2.ogg", "sp\u00e9\u200b,x/3.ogg")
    table = read_user_table(prepare("\n".join(["primary_label,filename", *rows]) + "\n"))
    (told,) = table.accepted
    assert told == r"'spe\u0301' (line 3) and 'sp\xe9' (line 2) and 'sp\xe9\u200b' (line 4) count as 3 species"


def test_byte_order_mark_is_no_part_of_a_column_name(prepare: Prepare) -> None:
    recordings = read_recordings(prepare(b"\xef\xbb\xbfprimary_label,filename\nbird1,x/1.ogg\n"))
    assert list(recordings["label"]) == ["bird1"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",x/2.ogg,[]", "primary_label is empty: line 3 (x/2.ogg)"),
        (
            "two words,x/2.ogg,[]",
            "primary_label holds white space (write a code or House_Sparrow, ",
        ),
        ("bir\x07d1,x/2.ogg,[]", "primary_label holds a control character: line 3 (x/2.ogg)"),
        ("b,x/99.ogg,[]", "file not found in the audio folder: line 3 (x/99.ogg)"),
        ("b,x,[]", "file not found in the audio folder: line 3 (x)"),
        ("b,x/1.ogg,[]", "the same filename stands in an earlier row: line 3 (x/1.ogg)"),
        ("b,../train_audio/x/2.ogg,[]", "filename leads outside the audio folder: line 3 (../train_audio/x/2.ogg)"),
        ("b,x/../../x/2.ogg,[]", "filename leads outside the audio folder: line 3 (x/../../x/2.ogg)"),
        ("b,/etc/hostname,[]", "filename leads outside the audio folder: line 3 (/etc/hostname)"),
        ("b,y\\2.ogg,[]", "file not found in the audio folder: line 3 (y\\2.ogg; did you mean x/2.ogg?)"),
        ("b,,[]", "filename is empty: line 3 ()"),
        ("b,x/2.ogg,['a'", "secondary_labels is not a list such as ['abethr1', 'abhori1']: line 3 (x/2.ogg)"),
        ("b,x/2.ogg,a b", "secondary_labels is not a list such as ['abethr1', 'abhori1']: line 3 (x/2.ogg)"),
        ("b,x/2.ogg,'a''b'", "secondary_labels is not a list such as ['abethr1', 'abhori1']: line 3 (x/2.ogg)"),
        ("b,x/2.ogg,[[1]]", "secondary_labels is not a list such as ['abethr1', 'abhori1']: line 3 (x/2.ogg)"),
        ("b,x/2.ogg,['a b']", "secondary_labels is not a list such as ['abethr1', 'abhori1']: line 3 (x/2.ogg)"),
        ("b,x/2.ogg,__import__('os')", "secondary_labels is not a list such as ['abethr1', 'abhori1']: line 3"),
    ],
)
def test_wrong_row_is_named_by_line_and_file(prepare: Prepare, row: str, problem: str) -> None:
    message = refusal(prepare(f"primary_label,filename,secondary_labels\nbird1,x/1.ogg,[]\n{row}\n"))
    assert f"  {problem}" in message
    assert message.count("line 3") == 1
    assert "line 2" not in message
    assert "train_metadata.csv cannot be used" in message


def test_label_of_blanks_only_counts_as_empty(prepare: Prepare) -> None:
    message = refusal(prepare("primary_label,filename\nbird1,x/1.ogg\n  ,x/2.ogg\n"))
    assert "primary_label is empty: line 3 (x/2.ogg)" in message


def test_several_kinds_of_problem_come_in_one_message(prepare: Prepare) -> None:
    message = refusal(
        prepare(
            "primary_label,filename,secondary_labels\n"
            "bird1,x/1.ogg,[]\n,x/2.ogg,[]\nbird1,x/99.ogg,[]\nbird1,x/1.ogg,[]\nbird1,x/4.ogg,{\nbird1,../a,[]\n"
        )
    )
    for problem in (
        "primary_label is empty: line 3 (x/2.ogg)",
        "file not found in the audio folder: line 4 (x/99.ogg)",
        "the same filename stands in an earlier row: line 5 (x/1.ogg)",
        "secondary_labels is not a list such as ['abethr1', 'abhori1']: line 6 (x/4.ogg)",
        "filename leads outside the audio folder: line 7 (../a)",
    ):
        assert problem in message
    assert len(message.splitlines()) == 7  # the table, five problems, what to do


@pytest.mark.parametrize(("count", "summary"), [(5, ""), (6, " and 1 more"), (40, " and 35 more")])
def test_only_five_rows_of_a_problem_are_named(prepare: Prepare, count: int, summary: str) -> None:
    rows = "".join(f"b,gone/a{number}.ogg\n" for number in range(count))
    message = refusal(prepare(f"primary_label,filename\n{rows}"))
    assert message.splitlines()[1] == (
        "  file not found in the audio folder: line 2 (gone/a0.ogg), line 3 (gone/a1.ogg), line 4 (gone/a2.ogg), "
        f"line 5 (gone/a3.ogg), line 6 (gone/a4.ogg){summary}"
    )


@pytest.mark.parametrize(
    ("table", "lacking", "present"),
    [
        ("primary_label,file\nb,x/1.ogg\n", "lacks the column(s) filename", "it has primary_label, file."),
        ("a,b\n1,2\n", "lacks the column(s) primary_label, filename", "it has a, b."),
    ],
)
def test_missing_required_column_is_named(prepare: Prepare, table: str, lacking: str, present: str) -> None:
    message = refusal(prepare(table))
    assert lacking in message
    assert present in message


def test_header_without_rows_is_refused(prepare: Prepare) -> None:
    assert "has a header but no rows" in refusal(prepare("primary_label,filename\n"))


@pytest.mark.parametrize(
    "table",
    [
        b"",
        bytes(range(256)) * 20,
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\xff" * 100,
        "primary_label,filename,author\nb,x/1.ogg,José\n".encode("latin-1"),
        b'primary_label,filename\nb,"x/1.ogg\n',
    ],
    ids=["empty", "bytes", "picture", "latin-1", "open quote"],
)
def test_table_that_is_no_csv_is_refused(prepare: Prepare, table: bytes) -> None:
    assert "train_metadata.csv is not a readable CSV file" in refusal(prepare(table))


def test_row_with_too_many_fields_is_named(prepare: Prepare) -> None:
    message = refusal(prepare("primary_label,filename\nb,x/1.ogg\nb,x/2.ogg,more\n"))
    assert "is not a readable CSV file" in message
    assert "line 3" in message


def test_missing_table_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no table of recordings at .*nowhere.*does not exist"):
        read_recordings(DataConfig(root=str(tmp_path / "nowhere")))


def test_table_of_another_name_is_found_and_nothing_is_generated_into_the_folder(tmp_path: Path) -> None:
    (tmp_path / "recordings.csv").touch()
    with pytest.raises(
        FileNotFoundError, match=r"The folder has recordings\.csv: set data\.metadata=recordings\.csv"
    ) as told:
        read_recordings(DataConfig(root=str(tmp_path)))
    assert "synth" not in str(told.value)


@pytest.mark.parametrize("column", ["note; filename", "note|filename"])
def test_separators_within_the_name_of_a_column_are_text(prepare: Prepare, column: str) -> None:
    data = prepare(f"primary_label,filename,{column}\nb,x/1.ogg,c\n")
    assert read_recordings(data)[column].tolist() == ["c"]


@pytest.mark.parametrize("header", ['"primary_label"{0}"filename"', '"filename"{0}"primary_label"', "filename{0}site"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_another_separator_is_named_as_spreadsheets_write_it(
    prepare: Prepare, header: str, mark: str, separator: str, name: str, end: str
) -> None:
    """Spreadsheets quote all columns, begin with a byte-order mark, or end lines by CR."""
    message = refusal(prepare(f"{mark}{header.format(separator)}{end}b{separator}x/1.ogg{end}"))
    assert f"separates its columns by {name}. Save it as comma-separated values" in message


@pytest.mark.parametrize("header", ["filename,primary_label", '"filename","primary_label"'])
def test_byte_order_mark_is_no_part_of_the_first_column(prepare: Prepare, header: str) -> None:
    recordings = read_recordings(prepare(f"\ufeff{header}\nx/1.ogg,b\n"))
    assert list(recordings["recording_id"]) == ["x/1.ogg"]


@pytest.mark.parametrize("name", ["./x/1.ogg", "x//1.ogg", "x/./1.ogg", ".//x/1.ogg"])
def test_other_spellings_of_a_path_are_one_recording(prepare: Prepare, name: str) -> None:
    assert list(read_recordings(prepare(f"primary_label,filename\nb,{name}\n"))["recording_id"]) == ["x/1.ogg"]


def test_two_spellings_of_a_path_are_the_same_filename(prepare: Prepare) -> None:
    message = refusal(prepare("primary_label,filename\nb,x/1.ogg\nb,./x/1.ogg\n"))
    assert "the same filename stands in an earlier row: line 3 (./x/1.ogg)" in message


def test_missing_audio_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "train_metadata.csv").write_text("primary_label,filename\nb,1.ogg\n")
    with pytest.raises(FileNotFoundError, match=r"audio folder .*train_audio does not exist"):
        read_recordings(DataConfig(root=str(tmp_path)))


def test_other_table_and_folder_names_are_used(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "1.wav").write_bytes(b"abc")
    (tmp_path / "table.csv").write_text("primary_label,filename\nb,1.wav\n")
    config = DataConfig(root=str(tmp_path), metadata="table.csv", audio="clips")
    assert audio_directory(config) == str(tmp_path / "clips")
    assert recording_address(audio_directory(config), "owl/1.ogg") == str(tmp_path / "clips" / "owl" / "1.ogg")
    assert list(read_recordings(config)["size"]) == [3]


def test_scan_finds_nested_files_with_size_and_time(tmp_path: Path) -> None:
    for name, size in (("top.ogg", 1), ("a/one.ogg", 2), ("a/b/c/deep file.ogg", 3)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, ns=(0, 1_600_000_000_123_456_000 + size))
    (tmp_path / "empty").mkdir()
    assert scan_audio(str(tmp_path)).files == {
        "top.ogg": (1, str(1_600_000_000_123_456_001)),
        "a/one.ogg": (2, str(1_600_000_000_123_456_002)),
        "a/b/c/deep file.ogg": (3, str(1_600_000_000_123_456_003)),
    }


@pytest.mark.parametrize("row", ["bird1,x/1.ogg,", "extra,bird1,x/1.ogg"])
def test_rows_with_more_fields_than_the_header_are_refused(prepare: Prepare, row: str) -> None:
    assert "is not a readable CSV file" in refusal(prepare(f"primary_label,filename\n{row}\n{row}\n"))


def test_columns_of_the_table_cannot_replace_computed_ones(prepare: Prepare) -> None:
    recordings = read_recordings(prepare("primary_label,filename,label,size,fold\nbird1,x/3.ogg,wrong,big,7\n"))
    assert recordings[["label", "size"]].to_numpy().tolist() == [["bird1", 3]]
    assert recordings[["table_label", "table_size", "table_fold"]].to_numpy().tolist() == [["wrong", "big", "7"]]


def test_blank_lines_are_skipped_and_counted(prepare: Prepare) -> None:
    config = prepare("primary_label,filename\n\nbird1,x/1.ogg\n,\nbird1,x/zz.ogg\n\n")
    assert "line 5 (x/zz.ogg)" in refusal(config)


def test_spellings_of_other_systems_are_accepted_and_counted(prepare: Prepare) -> None:
    table = "primary_label,filename,secondary_labels\nx,x\\1.ogg,['']\nx,2.ogg,['a' 'b']\nx,x/3.ogg,[]\n"
    read = read_user_table(prepare(table))
    assert list(read.recordings["recording_id"]) == ["x/1.ogg", "x/2.ogg", "x/3.ogg"]
    assert list(read.recordings["secondary_labels"]) == ["", "a b", ""]
    assert read.accepted == [
        '1 file name(s) with a backslash for /, such as "x\\1.ogg" for x/1.ogg',
        '1 file name(s) without the folder of the species, such as "2.ogg" for x/2.ogg',
        "1 list(s) of secondary_labels in another form, such as \"['a' 'b']\" for a, b",
    ]


def test_two_rows_of_one_file_are_refused_however_they_are_written(prepare: Prepare) -> None:
    message = refusal(prepare("primary_label,filename\nx,x/1.ogg\nx,1.OGG\n"))
    assert "the same filename stands in an earlier row: line 3 (1.OGG)" in message


def test_names_of_2020_become_labels_by_the_scientific_names_of_the_table(prepare: Prepare) -> None:
    recordings = read_recordings(
        prepare(
            "primary_label,filename,sci_name,secondary_labels\n"
            "amerob,x/1.ogg,Turdus migratorius,[]\nb,x/2.ogg,B b,['Turdus migratorius_American Robin']\n"
        )
    )
    assert list(recordings["secondary_labels"]) == ["", "amerob"]


def test_column_of_codes_is_named_if_the_labels_are_names(prepare: Prepare) -> None:
    message = refusal(prepare("primary_label,filename,ebird_code\nTurdus migratorius_American Robin,x/1.ogg,amerob\n"))
    assert "(the column ebird_code seems to hold codes): line 2" in message


@pytest.mark.parametrize("author", ["None", "nan", "NaN", "null"])
def test_authors_that_pandas_writes_for_nobody_are_unknown(prepare: Prepare, author: str) -> None:
    recordings = read_recordings(prepare(f"primary_label,filename,author\nb,x/1.ogg,{author}\n"))
    assert list(recordings["recordist"]) == [""]


def test_fifo_is_named_and_never_opened(prepare: Prepare, tmp_path: Path) -> None:
    config = prepare("primary_label,filename\nx,x/f.ogg\n")
    os.mkfifo(tmp_path / "train_audio" / "x" / "f.ogg")
    assert "filename is a FIFO, a socket or a device, which is never opened: line 2 (x/f.ogg)" in refusal(config)


def test_carriage_return_in_a_remark_ends_no_row_of_the_catalogue(prepare: Prepare) -> None:
    recordings = read_recordings(
        prepare(
            'primary_label,filename,"the\rremark",author\nb,x/1.ogg,"one\rtwo","a\rb"\nb,x/2.ogg,"three\r\nfour",c\n'
        )
    )
    read_back = pd.read_csv(io.StringIO(recordings.to_csv(index=False)), dtype=str, keep_default_na=False)
    assert list(read_back["the\nremark"]) == ["one\ntwo", "three\r\nfour"]
    assert list(read_back["recordist"]) == ["a\nb", "c"]


def test_carriage_return_in_a_file_name_is_told(prepare: Prepare, tmp_path: Path) -> None:
    config = prepare('primary_label,filename\nx,"x/a\rb.ogg"\n')
    (tmp_path / "train_audio" / "x" / "a\rb.ogg").touch()
    assert "filename holds a carriage return, which tables cannot hold (rename the file): line 2" in refusal(config)


def test_file_whose_name_is_no_utf8_is_told(prepare: Prepare, tmp_path: Path) -> None:
    config = prepare("primary_label,filename\nx,x/Zürich.ogg\n")
    (tmp_path / "train_audio" / "x" / os.fsdecode("Zürich.ogg".encode("latin-1"))).touch()
    assert "(x/Zürich.ogg; the name of the file there is no UTF-8: rename it)" in refusal(config)


@pytest.mark.parametrize(
    ("table", "line"),
    [(b"primary_label,filename\na,x/1.ogg\na,x/2\0.ogg\n", 3), (bytes(4096), 1)],
    ids=["in a name", "zeros only"],
)
def test_zero_bytes_are_told_with_their_line_and_not_printed(prepare: Prepare, table: bytes, line: int) -> None:
    message = refusal(prepare(table))
    assert f"train_metadata.csv is not a readable CSV file: line {line} holds a zero byte" in message
    assert "\0" not in message


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["train_metadata.csv", "taxonomy.csv"])
def test_table_that_is_a_fifo_is_never_opened(prepare: Prepare, name: str) -> None:
    config = prepare("primary_label,filename\na,x/1.ogg\n")
    path = Path(config.root, name)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(OSError, match=f"{name} is a FIFO, a socket or a device, which is never opened"):
        find_species_without_recordings(config, set(read_recordings(config)["label"]))
