"""Shows a part of a file as a file of its own, behind other first bytes."""

import io
import os
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class FileView(io.RawIOBase):
    """A file that begins with given bytes and goes on with a part of another file; nothing is copied.

    Args:
        content: The other file; it stays open when the view is closed.
        start: First byte of the part.
        end: Byte behind the part.
        head: Bytes in front of the part.
    """

    def __init__(self, content: BinaryIO, start: int, end: int, head: bytes = b"") -> None:
        self._content = content
        self._start = start
        self._head = head
        self._size = len(head) + end - start
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
        if found < len(wanted):
            self._content.seek(self._start + self._place + found - len(self._head))
            rest = self._content.read(len(wanted) - found)
            wanted[found : found + len(rest)] = rest
            found += len(rest)
        self._place += found
        return found


def view_part(content: BinaryIO, start: int, end: int, head: bytes = b"") -> BinaryIO:
    """Returns a part of a file as a file of its own, behind other first bytes; as `FileView`."""
    return cast("BinaryIO", FileView(content, start, end, head))


def file_size(content: BinaryIO) -> int:
    """Returns the size of a file in bytes; its place is lost."""
    return content.seek(0, os.SEEK_END)


def read_at(content: BinaryIO, place: int, size: int) -> bytes:
    """Returns bytes of a file from a place on; fewer if the file ends before."""
    content.seek(place)
    return content.read(size)
