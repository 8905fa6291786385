"""How much memory a piece of work needed at its peak: of the GPU if it used one, else of the process."""

import re
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_memory() -> None:
    """Let the peak start anew from what is held now."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if _RESET.exists():
        _RESET.write_text("5")  # proc(5): resets the peak resident set size


def read_peak_memory() -> float | None:
    """Returns the peak since the last reset, MB: allocated on the GPU, else resident; none if it is not told."""
    if torch.cuda.is_available() and (allocated := torch.cuda.max_memory_allocated()):
        return allocated / 1e6
    peak = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    return int(peak[1]) * 1024 / 1e6 if peak else None
