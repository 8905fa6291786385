"""Strips of many recordings in one flat tensor, from which crops are gathered without touching storage."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cache.encoding import FLOAT16, StripEncoding
from cache.store import StripStore

logger = logging.getLogger(__name__)

_DEVICE_SHARE = 0.5  # of the free device memory; the rest is for activations


@dataclass(frozen=True)
class ResidentStrips:
    """Strips laid one after the other.

    Attributes:
        values: As stored, (total_frames, channels) float16 or uint8, on the device or in (pinned) host memory.
        starts: First frame of each strip in `values`, (strips,) int64, beside `values`.
        lengths: Frames of each strip, (strips,) int64, beside `values`.
        encoding: What the values mean.
    """

    values: Tensor
    starts: Tensor
    lengths: Tensor
    encoding: StripEncoding = FLOAT16

    def __len__(self) -> int:
        return len(self.starts)

    def decibels(self, stored: Tensor) -> Tensor:
        """Returns some of `values` in dB, of the same shape, float32."""
        if self.encoding.dtype == "float16":
            return stored.float()
        return stored.float().mul_(self.encoding.step_db).add_(self.encoding.offset_db)


def load_resident(
    store: StripStore, sha256s: Sequence[str], device: torch.device, residency: Literal["auto", "device", "host"]
) -> ResidentStrips:
    """Returns the strips of some recordings, in order, where `residency` wants them.

    Raises:
        ValueError: If `residency` is `device` and they do not fit there.
    """
    values, starts, lengths = store.load(sha256s)
    place = choose_place(values.nbytes, device, residency)
    flat = torch.from_numpy(values)
    if place.type == "cpu" and device.type == "cuda":
        flat = flat.pin_memory()
    logger.info("resident strips: %.1f MB of %d recordings on %s", values.nbytes / 1e6, len(starts), place)
    return ResidentStrips(
        flat.to(place), torch.from_numpy(starts).to(place), torch.from_numpy(lengths).to(place), store.encoding
    )


def choose_place(n_bytes: int, device: torch.device, residency: Literal["auto", "device", "host"]) -> torch.device:
    """Returns where that many bytes of strips stay."""
    if residency == "host" or device.type != "cuda":
        return torch.device("cpu") if residency == "host" else device
    free, _ = torch.cuda.mem_get_info(device)
    if n_bytes <= free * _DEVICE_SHARE:
        return device
    if residency == "device":
        raise ValueError(
            f"{n_bytes / 1e9:.1f} GB of strips do not fit into {_DEVICE_SHARE:.0%} of the {free / 1e9:.1f} GB free on "
            f"{device}. Set train.*.residency=host or auto."
        )
    return torch.device("cpu")
