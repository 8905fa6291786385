"""Finds the files that were joined to one MP4, M4A or MOV file, of which decoders read only the first.

The boxes of such a file are those of ISO/IEC 14496-12, 4.2; each file begins with a box `ftyp`.
"""

from collections.abc import Iterator
from typing import BinaryIO

from cache.audio.file_view import file_size, read_at, view_part

_FIRST_BOX = b"ftyp"
_HEADER_BYTES, _LONG_HEADER_BYTES = 8, 16
_LONG, _TO_THE_END = 1, 0
"""Sizes that stand for: 64 bits follow, and: the box ends with the file."""


def joined_files(content: BinaryIO) -> Iterator[BinaryIO]:
    """Yields each of the joined files; the file itself if there is only one.

    Args:
        content: A whole MP4, M4A or MOV file.
    """
    size = file_size(content)
    starts = [0, *(place for place, name in _boxes(content, size) if name == _FIRST_BOX and place)]
    if len(starts) == 1:
        yield content
        return
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        yield view_part(content, start, end)


def _boxes(content: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """Yields place and name of each box that lies in no other box, until one is damaged."""
    place = 0
    while place + _HEADER_BYTES <= size:
        header = read_at(content, place, _LONG_HEADER_BYTES)
        length = int.from_bytes(header[:4])
        if length == _LONG:
            length = int.from_bytes(header[8:])
        elif length == _TO_THE_END:
            length = size - place
        if length < _HEADER_BYTES:
            return
        yield place, header[4:8]
        place += length
