"""Reads many strips of a store as one array of rows, at once or piece by piece."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from cache.store.fragment import Strip
from cache.store.part_array import PartRows

_LOADING_THREADS = 4


class StripReader:
    """The rows of some strips, one strip after the other, in the order of their parts.

    A strip that is asked for twice has its rows once.

    Attributes:
        starts: First row of each strip, (strips,).
        lengths: Number of rows of each strip, (strips,).
        rows: Number of rows of all strips.
        channels: Values per row.
        encoding: Encoding of the stored values.

    Args:
        strips: Strips to read.
        open_part: Returns the rows of a part, by its id.
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
        """Returns the stored values of all rows, (rows, channels); each part is read once, in order.

        Raises:
            DamagedPartError: If a chunk is missing or too short.
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
        """Fill `out`, (rows, channels) of the stored type, with the rows of strip `index` from its row `first` on.

        Raises:
            DamagedPartError: If a chunk is missing or too short.
        """
        strip = self._strips[index]
        self._parts[strip.part].read(strip.start + first, out)

    def blocks(self, size: int) -> Iterator[NDArray[np.generic]]:
        """Yields the stored values of all rows in blocks, (size, channels); the last block may be shorter.

        Raises:
            DamagedPartError: If a chunk is missing or too short.
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
