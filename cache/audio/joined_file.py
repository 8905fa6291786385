"""Finds where another file begins behind the sound of a file, as after `cat a.flac b.mp3`."""

import re
from typing import BinaryIO

from cache.audio.containers import HEAD_BYTES, name_container
from cache.audio.file_view import file_size, read_at, view_part
from cache.audio.mpeg import begins_sound, find_frames

_SIGNATURES = re.compile(
    rb"fLaC[\x00\x80]\x00\x00\x22|OggS\x00\x02|(?:RIFF|RF64|BW64).{4}WAVE|FORM.{4}AIF[FC]|caff\x00\x01|\x00{3}.ftyp",
    re.DOTALL,
)
"""First bytes of files; at least six of them, because fewer may stand within sound by chance."""
_LONGEST = 12
_SEARCHED_BYTES = 1 << 20


def begins_file(content: BinaryIO, place: int) -> bool:
    """Whether a file of any kind that holds sound begins at a place."""
    if name_container(read_at(content, place, HEAD_BYTES)) is not None:
        return True
    return begins_sound(view_part(content, place, file_size(content)))


def find_file(content: BinaryIO, place: int) -> int | None:
    """Returns where a file begins, at or behind a place in sound that is no MPEG; None if none does."""
    marked = find_signature(content, place)
    frames = find_frames(content if marked is None else view_part(content, 0, marked), place)
    return marked if frames is None else frames


def find_signature(content: BinaryIO, place: int) -> int | None:
    """Returns where a file that is no MPEG begins, at or behind a place; None if none does."""
    while block := read_at(content, place, _SEARCHED_BYTES + _LONGEST - 1):
        if found := _SIGNATURES.search(block):
            return place + found.start()
        place += _SEARCHED_BYTES
    return None
