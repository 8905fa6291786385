"""Reads and rewrites the pages of Ogg streams (RFC 3533)."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cache.audio.file_view import read_at, view_part
from cache.audio.joined_file import find_file

PAGE = b"OggS"
"""First bytes of each page."""
FIRST_PAGE = PAGE + b"\0\2"
"""First bytes of the first page of a stream."""

_FIRST = 2  # flag of the first page of a stream
_SEARCHED_BYTES = 1 << 16
_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True)
class Link:
    """One of the files that are joined to an Ogg file; the only one in most files.

    Attributes:
        start: First byte.
        end: Byte behind the link.
        damaged: Whether pages are missing or damaged in front of other pages. A link that is cut off is not damaged.
    """

    start: int
    end: int
    damaged: bool


def find_links(content: BinaryIO, size: int) -> list[Link]:
    """Returns the links of an Ogg file (RFC 3533, 4) in order, and files of other kinds that were joined to it.

    Args:
        content: A whole file that begins with a page.
        size: Size of the file in bytes.
    """
    links: list[Link] = []
    start = place = gap = 0
    sound = damaged = lost = False
    numbers: dict[bytes, int] = {}  # of the last page by serial number
    while place < size:
        page = _read_page(content, place)
        if not page:
            gap = gap if lost else place
            lost, place = True, _find_capture(content, place + 1, size)
            continue
        first, serial, number = page[5] & _FIRST, page[14:18], int.from_bytes(page[18:22], "little")
        if first and sound:
            links += _divide(content, Link(start, place, damaged), gap if lost else place)
            start, sound, damaged, numbers = place, False, False, {}
        elif lost or number != numbers.get(serial, number - 1) + 1:
            damaged = True
        sound, lost = sound or not first, False
        numbers[serial] = number
        place += len(page)
    return links + _divide(content, Link(start, size, damaged), gap if lost else size)


def _divide(content: BinaryIO, link: Link, gap: int) -> list[Link]:
    """Returns a link, and a file of another kind if one begins behind the link's last page.

    Args:
        content: The whole file.
        link: The link, up to the next one.
        gap: Place behind its last page.
    """
    other = find_file(view_part(content, 0, link.end), gap) if gap < link.end else None
    if other is None or read_at(content, other, len(PAGE)) == PAGE:
        return [link]
    return [Link(link.start, other, link.damaged), Link(other, link.end, damaged=False)]


def _read_page(content: BinaryIO, place: int) -> bytes:
    """Returns the page at a place; no bytes if there is none, or if its checksum is wrong."""
    header = read_at(content, place, 27)
    if len(header) < 27 or not header.startswith(PAGE):
        return b""
    segments = content.read(header[26])
    page = header + segments + content.read(sum(segments))
    whole = len(page) == 27 + header[26] + sum(segments)
    checksum = page_checksum(page[:22] + bytes(4) + page[26:])
    return page if whole and checksum == int.from_bytes(page[22:26], "little") else b""


def _find_capture(content: BinaryIO, place: int, size: int) -> int:
    """Returns where the next page may begin, or the size of the file."""
    while place < size:
        block = read_at(content, place, _SEARCHED_BYTES)
        found = block.find(PAGE)
        if found >= 0:
            return place + found
        place += max(1, len(block) - len(PAGE) + 1)
    return size


def fix_serial(stream: bytes, serial: int) -> bytes:
    """Returns the Ogg stream with a given serial number on each page, and with the checksums that fit.

    libsndfile chooses a random serial number, so without this two encodings of the same samples differ.

    Args:
        stream: A whole Ogg file with one logical stream.
        serial: 32-bit number.

    Raises:
        ValueError: If the bytes are not a sequence of Ogg pages.
    """
    fixed = bytearray(stream)
    for start, end in _find_pages(stream):
        fixed[start + 14 : start + 18] = serial.to_bytes(4, "little")
        fixed[start + 22 : start + 26] = bytes(4)
        fixed[start + 22 : start + 26] = page_checksum(bytes(fixed[start:end])).to_bytes(4, "little")
    return bytes(fixed)


def ends_with_page(stream: bytes) -> bool:
    """Whether the last page of an Ogg stream ends where the stream ends."""
    page = stream.rfind(PAGE)
    segments = stream[page + 27 : page + 27 + stream[page + 26]] if page + 26 < len(stream) else b""
    return page + 27 + len(segments) + sum(segments) == len(stream)


def last_granule_position(stream: bytes) -> int:
    """Returns the position that the last page of an Ogg stream states; -1 if none. For Vorbis it counts samples."""
    page = stream.rfind(PAGE)
    return int.from_bytes(stream[page + 6 : page + 14], "little", signed=True)


def page_checksum(page: bytes) -> int:
    """Returns the CRC-32 of an Ogg page whose checksum field is zero (RFC 3533: 0x04C11DB7, highest bit first).

    zlib computes the same polynomial with the lowest bit first, so the bits of input and output are reversed here.
    """
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _find_pages(stream: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(stream):
        if stream[start : start + 4] != PAGE:
            raise ValueError(f"No Ogg page begins at byte {start} of {len(stream)}: this is not a whole Ogg stream.")
        segments = stream[start + 26]
        end = start + 27 + segments + sum(stream[start + 27 : start + 27 + segments])
        yield start, end
        start = end
