"""Creates, extends, opens and reads the Zarr array of a part."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from cache.store.bulk_read import chunk_path, read_rows
from cache.store.encoding import StoredType, StripEncoding
from cache.store.fragment import DamagedPartError
from cache.workspace.atomic_files import flush_to_disk


@dataclass(frozen=True)
class PartRows:
    """The rows of an uncompressed Zarr v3 array, (frames, channels).

    Attributes:
        directory: Directory of the array.
        frames: Rows of the array.
        channels: Values of a strip per row.
        score_columns: Values behind the channels in each row: the scores of an embedding model's own labels.
        chunk_frames: Rows per chunk.
        encoding: Encoding of the stored values.
        features: Key of the feature directory that the array was written for.
    """

    directory: Path
    frames: int
    channels: int
    score_columns: int
    chunk_frames: int
    encoding: StripEncoding
    features: str

    @classmethod
    def open(cls, directory: Path) -> "PartRows":
        """Returns the rows of the array in a directory.

        Raises:
            DamagedPartError: If there is no array, or its layout is not plain uncompressed rows.
        """
        import zarr  # imported here because the import takes 0.2 s, and most commands open no array

        try:
            store = zarr.storage.LocalStore(directory, read_only=True)
            array: Any = zarr.open_array(store, mode="r", zarr_format=3)
            (frames, width), attributes = array.shape, array.attrs
            scores = int(attributes.get("scores", 0))
            encoding = StripEncoding(array.dtype.name, attributes["step_db"], attributes["offset_db"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedPartError(
                f"{directory} is not a readable Zarr array ({error}). Run birdclef verify."
            ) from error
        if not _is_plain(array):
            raise DamagedPartError(f"{directory} holds {array.metadata}, not plain rows. Run birdclef verify.")
        features = str(attributes.get("features", ""))
        return cls(directory, frames, width - scores, scores, array.chunks[0], encoding, features)

    @property
    def chunks(self) -> list[Path]:
        """Paths of the chunk files that hold the rows."""
        return [chunk_path(self.directory, number) for number in range(-(-self.frames // self.chunk_frames))]

    def read(self, start: int, out: NDArray[Any]) -> None:
        """Fill `out`, (rows, channels) of the stored type, with the rows from `start` on.

        Raises:
            DamagedPartError: If a chunk is missing or too short.
        """
        if self.score_columns:
            out[:] = self.read_whole(start, len(out))[:, : self.channels]
        else:
            read_rows(self.directory, self.chunk_frames, start, out)

    def read_whole(self, start: int, rows: int) -> NDArray[Any]:
        """Returns `rows` rows from `start` on with their scores, (rows, channels + scores) of the stored type.

        Raises:
            DamagedPartError: If a chunk is missing or too short.
        """
        whole = np.empty((rows, self.channels + self.score_columns), self.encoding.dtype)
        read_rows(self.directory, self.chunk_frames, start, whole)
        return whole


def _is_plain(array: Any) -> bool:
    """Returns whether the chunks of a Zarr array are uncompressed little-endian rows."""
    layout = array.chunks[1], array.shards, array.filters, array.compressors, array.metadata.encode_chunk_key((1, 0))
    endian = {"configuration": {"endian": "little"}} if array.dtype.itemsize > 1 else {}
    return (
        array.dtype.name in get_args(StoredType)
        and layout == (array.shape[1], None, (), (), "c/1/0")
        and array.serializer.to_dict() == {"name": "bytes", **endian}
    )


class RowAppender:
    """Creates the array of a part and appends rows to it; holds no more than one chunk in memory.

    A full chunk is flushed to the disk while the next one is filled.

    Args:
        array: Directory and layout of the new array; `frames` is ignored.
    """

    def __init__(self, array: PartRows) -> None:
        import zarr

        width = array.channels + array.score_columns
        self._directory = array.directory
        self._array = zarr.create_array(
            zarr.storage.LocalStore(array.directory),
            shape=(0, width),
            dtype=array.encoding.dtype,
            chunks=(array.chunk_frames, width),
            filters=None,
            compressors=None,
            fill_value=0,
            attributes={
                "features": array.features,
                "step_db": array.encoding.step_db,
                "offset_db": array.encoding.offset_db,
                "scores": array.score_columns,
            },
            config={"write_empty_chunks": True},  # so that a missing chunk is always damage
        )
        self._chunk = np.empty(self._array.chunks, self._array.dtype)
        self._filled = 0
        self._flusher = ThreadPoolExecutor(1)
        self._flushed: list[Future[None]] = []

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows, (rows, channels + scores) of the stored type."""
        while len(rows):
            now = rows[: len(self._chunk) - self._filled]
            self._chunk[self._filled : self._filled + len(now)] = now
            self._filled += len(now)
            rows = rows[len(now) :]
            if self._filled == len(self._chunk):
                self._write_chunk()

    def finish(self) -> None:
        """Write the last rows, and wait until all rows are on the disk."""
        if self._filled:
            self._write_chunk()
        for flushed in self._flushed:
            flushed.result()
        flush_to_disk(self._directory / "zarr.json")

    def close(self) -> None:
        """End the thread that flushes chunks."""
        self._flusher.shutdown()

    def _write_chunk(self) -> None:
        number = self._array.nchunks
        self._array.append(self._chunk[: self._filled])
        self._filled = 0
        self._flushed.append(self._flusher.submit(flush_to_disk, chunk_path(self._directory, number)))
