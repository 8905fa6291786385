"""A number that a device computes, read without waiting for what the device was given to do after it."""

import torch
from torch import Tensor


class HostCopy:
    """A copy on the host that the device makes once it comes to it."""

    def __init__(self, value: Tensor) -> None:
        """Have the device copy a number, (), when it has done all that it was given until now."""
        self._copied: torch.cuda.Event | None = None
        self._value = value
        if value.is_cuda:
            self._value = torch.empty_like(value, device="cpu", pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def value(self) -> float:
        """Returns the number, waiting for its copy and for nothing that follows."""
        if self._copied is not None:
            self._copied.synchronize()
        return float(self._value)
