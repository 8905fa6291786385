"""Reads and rewrites the pages of Ogg streams (RFC 3533)."""

import zlib
from collections.abc import Iterator

PAGE = b"OggS"
"""First bytes of each page."""

_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


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
