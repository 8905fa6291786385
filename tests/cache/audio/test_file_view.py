"""A view of a file is held against the bytes that it stands for."""

import io
import os

import pytest

from cache.audio.file_view import file_size, read_at, view_part, view_parts

CONTENT = bytes(range(100))
WHOLE = b"head" + CONTENT[10:60]


def test_view_reads_as_the_file_that_it_shows() -> None:
    view = view_part(io.BytesIO(CONTENT), 10, 60, b"head")
    assert file_size(view) == len(WHOLE) == 54
    for place in (0, 2, 4, 30, 53, 54, 80):
        for size in (0, 1, 3, 10, 100):
            assert read_at(view, place, size) == WHOLE[place : place + size]
            assert view.tell() == place + len(WHOLE[place : place + size])


def test_views_of_one_file_do_not_disturb_each_other() -> None:
    content = io.BytesIO(CONTENT)
    first, second = view_part(content, 0, 50), view_part(content, 50, 100)
    assert [first.read(5), second.read(5), first.read(5), second.read()] == [
        CONTENT[:5],
        CONTENT[50:55],
        CONTENT[5:10],
        CONTENT[55:],
    ]


def test_view_of_a_view_shows_its_part() -> None:
    assert view_part(view_part(io.BytesIO(CONTENT), 10, 90, b"ab"), 1, 20, b"c").read() == b"cb" + CONTENT[10:28]


def test_view_of_several_parts_joins_them() -> None:
    view = view_parts(io.BytesIO(CONTENT), [(10, 20), (30, 30), (90, 100), (5, 6)], b"ab")
    whole = b"ab" + CONTENT[10:20] + CONTENT[90:100] + CONTENT[5:6]
    assert file_size(view) == len(whole) == 23
    for place in range(25):
        assert read_at(view, place, 12) == whole[place : place + 12]


def test_places_are_counted_from_start_place_and_end() -> None:
    view = view_part(io.BytesIO(CONTENT), 10, 60)
    assert [view.seek(5), view.seek(3, os.SEEK_CUR), view.seek(-2, os.SEEK_END)] == [5, 8, 48]
    with pytest.raises(ValueError, match="There is no byte -1"):
        view.seek(-1)


def test_other_file_stays_open() -> None:
    content = io.BytesIO(CONTENT)
    view_part(content, 0, 10).close()
    assert not content.closed
