"""Strips of a store laid one after the other, read at once or piece by piece."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from cache.store.fragment import Strip
from cache.store.part_array import PartRows

_LOADING_THREADS = 4


class StripReader:
    """The rows of some strips, in the order of their parts; a strip that is asked for twice lies there once.

    Attributes:
        starts: First row of each strip, (strips,).
        lengths: Rows of each strip, (strips,).
        rows: Of all strips together.
        channels: Values per row.
        encoding: What the stored values mean.
    """

    def __init__(self, strips: Sequence[Strip], open_part: Callable[[str], PartRows]) -> None:
        self._strips = list(strips)
        self._laid = sorted(set(strips), key=lambda strip: (strip.part, strip.start))
        self._parts = {part: open_part(part) for part in dict.fromkeys(strip.part for strip in self._laid)}
        ends = np.cumsum([strip.frames for strip in self._laid])
        self._laid_starts = ends - [strip.frames for strip in self._laid]
        start_of = {strip.sha256: int(start) for strip, start in zip(self._laid, self._laid_starts, strict=True)}
        self.starts = np.array([start_of[strip.sha256] for strip in strips], np.int64)
        self.lengths = np.array([strip.frames for strip in strips], np.int64)
        self.rows = int(ends[-1])
        layout = next(iter(self._parts.values()))
        self.channels = layout.channels
        self.encoding = layout.encoding

    def load(self) -> NDArray[np.generic]:
        """Returns all rows as they are stored, (rows, channels), each part read once and in order.

        Raises:
            DamagedPartError: If an array lacks one of them.
        """
        values = np.empty((self.rows, self.channels), self.encoding.dtype)
        members: dict[str, list[int]] = {}
        for index, strip in enumerate(self._laid):
            members.setdefault(strip.part, []).append(index)

        def load_part(part: str) -> None:
            for index in members[part]:
                strip, row = self._laid[index], self._laid_starts[index]
                self._parts[part].read(strip.start, values[row : row + strip.frames])

        with ThreadPoolExecutor(_LOADING_THREADS) as pool:
            list(pool.map(load_part, members))
        return values

    def read(self, index: int, first: int, out: NDArray[np.generic]) -> None:
        """Fill `out`, (rows, channels) of the stored type, with the rows of one strip from `first` on.

        Raises:
            DamagedPartError: If its array lacks them.
        """
        strip = self._strips[index]
        self._parts[strip.part].read(strip.start + first, out)

    def blocks(self, size: int) -> Iterator[NDArray[np.generic]]:
        """Yields all rows as they are stored, `size` at a time, (size, channels); the last ones may be fewer.

        Raises:
            DamagedPartError: If an array lacks one of them.
        """
        for first in range(0, self.rows, size):
            block = np.empty((min(size, self.rows - first), self.channels), self.encoding.dtype)
            done = 0
            index = int(np.searchsorted(self._laid_starts, first, side="right")) - 1
            while done < len(block):
                strip, row = self._laid[index], int(self._laid_starts[index])
                inside = first + done - row
                piece = block[done : done + strip.frames - inside]
                self._parts[strip.part].read(strip.start + inside, piece)
                done += len(piece)
                index += 1
            yield block
