"""Rows of a part's Zarr array, read straight into memory that is there already."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from cache.store.encoding import StoredType, StripEncoding
from cache.store.fragment import DamagedPartError


@dataclass(frozen=True)
class PartRows:
    """The rows of an uncompressed Zarr v3 array, (frames, channels).

    Zarr defines its chunks as plain little-endian rows, so any of them is read by one system call without a copy,
    twice as fast as zarrs does and 6 times as fast as zarr. A missing chunk is an error here, where Zarr reads zeros.

    Attributes:
        directory: Of the array.
        frames: Rows of the array.
        channels: Values of a strip per row.
        scores: Values that lie behind them: scores of an embedding model's own labels.
        chunk_frames: Rows per chunk.
        encoding: What the stored values mean.
        features: Key of the feature directory that it was written for.
    """

    directory: Path
    frames: int
    channels: int
    scores: int
    chunk_frames: int
    encoding: StripEncoding
    features: str

    @classmethod
    def open(cls, directory: Path) -> "PartRows":
        """Returns the rows of an array.

        Raises:
            DamagedPartError: If there is none, or one of another layout.
        """
        try:
            metadata = json.loads((directory / "zarr.json").read_text())
            (frames, width), chunk_shape = metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]
            layout = metadata["data_type"], [codec["name"] for codec in metadata["codecs"]], chunk_shape[1]
            attributes = metadata["attributes"]
            scores = int(attributes.get("scores", 0))
            encoding = StripEncoding(metadata["data_type"], attributes["step_db"], attributes["offset_db"])
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise DamagedPartError(
                f"{directory} is not a readable Zarr array ({error}). Run birdclef verify."
            ) from error
        if layout not in [(dtype, ["bytes"], width) for dtype in get_args(StoredType)]:
            raise DamagedPartError(f"{directory} holds {layout}, not plain rows. Run birdclef verify.")
        features = str(attributes.get("features", ""))
        return cls(directory, frames, width - scores, scores, chunk_shape[0], encoding, features)

    def write_metadata(self) -> None:
        """Write what makes the directory an array, as Zarr does.

        Without Zarr, whose import would take as long as all else that a decoder's process imports.
        """
        dtype = np.dtype(self.encoding.dtype)
        plain = {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
        width = self.channels + self.scores
        metadata = {
            "shape": [self.frames, width],
            "data_type": self.encoding.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [self.chunk_frames, width]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": dtype.type(0).item(),
            "codecs": [plain],
            "attributes": {
                "features": self.features,
                "step_db": self.encoding.step_db,
                "offset_db": self.encoding.offset_db,
                "scores": self.scores,
            },
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }
        (self.directory / "zarr.json").write_text(json.dumps(metadata, indent=2))

    def read(self, start: int, out: NDArray[Any]) -> None:
        """Fill `out`, (rows, channels) of the stored type, with the rows from `start` on.

        Raises:
            DamagedPartError: If a chunk is missing or too short.
        """
        if self.scores:
            out[:] = self.read_whole(start, len(out))[:, : self.channels]
        else:
            self._fill(start, out)

    def read_whole(self, start: int, rows: int) -> NDArray[Any]:
        """Returns some rows from `start` on with their scores, (rows, channels + scores) of the stored type.

        Raises:
            DamagedPartError: If a chunk is missing or too short.
        """
        whole = np.empty((rows, self.channels + self.scores), self.encoding.dtype)
        self._fill(start, whole)
        return whole

    def _fill(self, start: int, out: NDArray[Any]) -> None:
        done = 0
        while done < len(out):
            chunk, offset = divmod(start + done, self.chunk_frames)
            rows = out[done : done + self.chunk_frames - offset]
            path = self.directory / "c" / str(chunk) / "0"
            try:
                with path.open("rb", buffering=0) as stream:
                    stream.seek(offset * rows.strides[0])
                    complete = stream.readinto(rows.data.cast("B")) == rows.nbytes
            except OSError as error:
                raise DamagedPartError(f"{path} cannot be read ({error}). Run birdclef verify.") from error
            if not complete:
                raise DamagedPartError(f"{path} is too short. Run birdclef verify.")
            done += len(rows)
