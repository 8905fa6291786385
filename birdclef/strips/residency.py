"""Strips of many recordings for training: in one tensor on the device or in host memory, or streamed from the store."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birdclef.devices.free_memory import free_bytes, free_host_bytes
from cache.store.encoding import FLOAT16, StripEncoding
from cache.store.strip_reader import StripReader
from cache.store.strip_store import StripStore

logger = logging.getLogger(__name__)

Residency = Literal["auto", "device", "host", "stream"]

_DEVICE_SHARE = 0.5  # strips may take this share of the free device memory; activations need the rest
_HOST_SHARE = 0.7  # strips may take this share of the free host memory
BLOCK_FRAMES = 65_536
_READING_THREADS = 4


class Strips(ABC):
    """Strips of many recordings, one after the other.

    Attributes:
        starts: First frame of each strip among all frames, (strips,) int64 on the CPU.
        lengths: Frames of each strip, (strips,) int64 on the CPU.
        encoding: Encoding of the stored values.
    """

    starts: Tensor
    lengths: Tensor
    encoding: StripEncoding

    @property
    @abstractmethod
    def channels(self) -> int:
        """Values per frame."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    @abstractmethod
    def place(self) -> torch.device:
        """Device of the values that `take` and `blocks` return."""

    @abstractmethod
    def _stored(self, rows: Tensor, frames: Tensor) -> Tensor:
        """Returns frames of strips as stored values, (batch, frames, channels); see `take`."""

    @abstractmethod
    def _stored_blocks(self) -> Iterator[Tensor]:
        """Yields all frames in order as blocks of stored values, (frames, channels) each."""

    def take(self, rows: Tensor, frames: Tensor) -> Tensor:
        """Returns frames of strips in dB, (batch, frames, channels) float32.

        Args:
            rows: Index of each strip, (batch,) on the CPU.
            frames: Frames to take from each strip, (batch, frames) int64 on the CPU; they wrap around the strip.
        """
        return self._decibels(self._stored(rows, frames))

    def blocks(self) -> Iterator[Tensor]:
        """Yields all frames in order as blocks in dB, (frames, channels) float32 each."""
        return map(self._decibels, self._stored_blocks())

    def _decibels(self, stored: Tensor) -> Tensor:
        if self.encoding.dtype == "float16":
            return stored.float()
        return stored.float().mul_(self.encoding.step_db).add_(self.encoding.offset_db)


@dataclass(frozen=True)
class ResidentStrips(Strips):
    """Strips in memory.

    Attributes:
        values: Stored values, (total_frames, channels) float16 or uint8, on the device or in (pinned) host memory.
    """

    values: Tensor
    starts: Tensor
    lengths: Tensor
    encoding: StripEncoding = FLOAT16

    @property
    def channels(self) -> int:
        """Values per frame."""
        return self.values.shape[1]

    @property
    def place(self) -> torch.device:
        """Device of the values."""
        return self.values.device

    def _stored(self, rows: Tensor, frames: Tensor) -> Tensor:
        starts, lengths = self.starts[rows].unsqueeze(1), self.lengths[rows].unsqueeze(1)  # (batch, 1)
        return self.values[(starts + frames % lengths).to(self.place, non_blocking=True)]

    def _stored_blocks(self) -> Iterator[Tensor]:
        yield from self.values.split(BLOCK_FRAMES)


class StreamedStrips(Strips):
    """Strips that stay in the store; each request reads its frames from there."""

    def __init__(self, reader: StripReader) -> None:
        self._reader = reader
        self._pool = ThreadPoolExecutor(_READING_THREADS)
        self.starts = torch.from_numpy(reader.starts)
        self.lengths = torch.from_numpy(reader.lengths)
        self.encoding = reader.encoding

    @property
    def channels(self) -> int:
        """Values per frame."""
        return self._reader.channels

    @property
    def place(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def _stored(self, rows: Tensor, frames: Tensor) -> Tensor:
        taken = np.empty((*frames.shape, self._reader.channels), self.encoding.dtype)
        list(self._pool.map(self._take_one, rows.tolist(), frames.numpy(), taken))
        return torch.from_numpy(taken)

    def _take_one(self, row: int, frames: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Fill `out`, (frames, channels), with one read from the first to the last frame, or two reads at a wrap."""
        first, length = int(frames.min()), int(self._reader.lengths[row])
        span = np.empty((min(int(frames.max()) - first + 1, length), out.shape[1]), out.dtype)
        begin = first % length
        before_end = min(len(span), length - begin)
        self._reader.read(row, begin, span[:before_end])
        self._reader.read(row, 0, span[before_end:])
        out[:] = span[(frames - first) % length]

    def _stored_blocks(self) -> Iterator[Tensor]:
        yield from map(torch.from_numpy, self._reader.blocks(BLOCK_FRAMES))


def load_strips(store: StripStore, sha256s: Sequence[str], device: torch.device, residency: Residency) -> Strips:
    """Returns the strips of some recordings, in their order, in the place that `residency` names.

    Raises:
        ValueError: If `residency` is `device` and the strips do not fit there.
    """
    reader = store.reader(sha256s)
    n_bytes = reader.rows * reader.channels * np.dtype(reader.encoding.dtype).itemsize
    place = choose_place(n_bytes, device, residency)
    where = f"on {place}" if place else "streamed from the store"
    logger.info("strips: recordings %d, %.1f MB %s", len(sha256s), n_bytes / 1e6, where)
    if place is None:
        return StreamedStrips(reader)
    flat = torch.from_numpy(reader.load())
    if place.type == "cpu" and device.type == "cuda":
        flat = flat.pin_memory()
    return ResidentStrips(
        flat.to(place), torch.from_numpy(reader.starts), torch.from_numpy(reader.lengths), reader.encoding
    )


def choose_place(n_bytes: int, device: torch.device, residency: Residency) -> torch.device | None:
    """Returns the device that keeps the strips; None: the strips stay in the store.

    Args:
        n_bytes: Size of the strips, bytes.
        device: Device that trains.
        residency: Place to use; `auto` takes the first place that has room.

    Raises:
        ValueError: If `residency` is `device` and the strips do not fit there.
    """
    if residency == "stream":
        return None
    if residency != "host" and device.type == "cuda":
        free = free_bytes(device)
        if n_bytes <= free * _DEVICE_SHARE:
            return device
        if residency == "device":
            raise ValueError(
                f"{n_bytes / 1e9:.1f} GB of strips do not fit into {_DEVICE_SHARE:.0%} of the {free / 1e9:.1f} GB free "
                f"on {device}. Set train.*.residency=host, stream or auto."
            )
    place = torch.device("cpu") if residency == "host" or device.type == "cuda" else device
    return None if residency == "auto" and n_bytes > free_host_bytes() * _HOST_SHARE else place
