"""Measures the peak memory of a piece of work: GPU memory if it used a GPU, main memory otherwise."""

import ctypes
import gc
import re
import sys
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures the peak since its creation: memory allocated on the GPU, or the growth of this process.

    Pages of files, which are the code of libraries, do not count: whoever calls a library first would pay for them.
    """

    def __init__(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # otherwise reuse of memory that was freed earlier would not be counted
        self._held = _resident_mb("VmRSS") if _reset_peak() else None
        self._code = _resident_mb("RssFile")

    def read(self) -> float | None:
        """Returns the peak so far, MB; None if the system does not report it."""
        if torch.cuda.is_available() and (allocated := torch.cuda.max_memory_allocated()):
            return allocated / 1e6
        peak, code = _resident_mb("VmHWM"), _resident_mb("RssFile")
        if peak is None or code is None or self._held is None or self._code is None:
            return None
        return max(0.0, peak - self._held - max(0.0, code - self._code))


def _reset_peak() -> bool:
    """Returns whether the system set the peak resident set size of this process back to its present size."""
    try:
        _RESET.write_text("5")  # proc(5)
    except OSError:  # no Linux, or a container whose /proc cannot be written
        return False
    return True


def _resident_mb(name: str) -> float | None:
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    return int(found[1]) * 1024 / 1e6 if found else None
