"""Copies a number from a device to the host without waiting for later work of the device."""

import torch
from torch import Tensor


class HostCopy:
    """A copy of a number on the host, made when the device has computed the number."""

    def __init__(self, value: Tensor) -> None:
        """Queue the copy of a number, (), behind the work that the device already has."""
        self._copied: torch.cuda.Event | None = None
        self._value = value
        if value.is_cuda:
            self._value = torch.empty_like(value, device="cpu", pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def value(self) -> float:
        """Returns the number; waits for the copy, but not for work that was queued after it."""
        if self._copied is not None:
            self._copied.synchronize()
        return float(self._value)
