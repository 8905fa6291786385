"""Shows parts of a file as a file of its own, behind other first bytes."""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class FileView(io.RawIOBase):
    """A file that begins with given bytes and goes on with parts of another file; nothing is copied.

    Args:
        content: The other file; it stays open when the view is closed.
        parts: First byte of each part, and the byte behind it.
        head: Bytes in front of the parts.
    """

    def __init__(self, content: BinaryIO, parts: Sequence[tuple[int, int]], head: bytes = b"") -> None:
        self._content = content
        self._parts = parts
        self._head = head
        self._begins = list(accumulate((end - start for start, end in parts), initial=len(head)))
        self._size = self._begins[-1]
        self._place = 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def tell(self) -> int:
        """Returns the place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place and return it.

        Raises:
            ValueError: If the place lies in front of the first byte.
        """
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if place < 0:
            raise ValueError(f"There is no byte {place} in a file.")
        self._place = place
        return place

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill a buffer and return the number of bytes; it is filled whole unless the file ends."""
        wanted = memoryview(buffer).cast("B")
        wanted = wanted[: max(0, self._size - self._place)]
        front = self._head[self._place : self._place + len(wanted)]
        wanted[: len(front)] = front
        found = len(front)
        while found < len(wanted):
            rest = self._read_part(self._place + found, len(wanted) - found)
            if not rest:
                break
            wanted[found : found + len(rest)] = rest
            found += len(rest)
        self._place += found
        return found

    def _read_part(self, place: int, most: int) -> bytes:
        """Returns bytes from a place on, of one part; none if the other file ends before."""
        part = bisect_right(self._begins, place) - 1
        start, end = self._parts[part]
        skipped = place - self._begins[part]
        self._content.seek(start + skipped)
        return self._content.read(min(most, end - start - skipped))


def view_part(content: BinaryIO, start: int, end: int, head: bytes = b"") -> BinaryIO:
    """Returns a part of a file as a file of its own, behind other first bytes; as `FileView`."""
    return view_parts(content, [(start, end)], head)


def view_parts(content: BinaryIO, parts: Sequence[tuple[int, int]], head: bytes = b"") -> BinaryIO:
    """Returns parts of a file as a file of their own, behind other first bytes; as `FileView`."""
    return cast("BinaryIO", FileView(content, parts, head))


def file_size(content: BinaryIO) -> int:
    """Returns the size of a file in bytes; its place is lost."""
    return content.seek(0, os.SEEK_END)


def read_at(content: BinaryIO, place: int, size: int) -> bytes:
    """Returns bytes of a file from a place on; fewer if the file ends before."""
    content.seek(place)
    return content.read(size)
