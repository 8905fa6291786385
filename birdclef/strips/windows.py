"""Plans the windows of strips at a stride, and keeps shifted ones inside their strips."""

import math
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Frames = TypeVar("Frames", int, NDArray[np.int64])


def shift_inside(first: Frames, shift: int, length: Frames, frames: int) -> Frames:
    """Returns the first frame of a shifted window; a window that would reach over an end of its strip is moved inwards.

    Cached strips and new recordings share this rule. In a strip that is shorter than a window every window begins at 0.

    Args:
        first: First frame of the window without shift, or of many windows, (windows,).
        shift: Frames by which the window is moved.
        length: Frames of each window's strip.
        frames: Length of a window.
    """
    inside: Frames = np.maximum(np.minimum(first + shift, length - frames), 0)
    return inside


def plan_windows(lengths: Tensor, frames: int, stride: float) -> tuple[Tensor, Tensor]:
    """Returns the windows of strips: index of the strip and first frame, (windows,) int64 each.

    The last window ends at the end of its strip, so that every frame is covered. A strip that is shorter than a window
    gives one window.

    Args:
        lengths: Frames of each strip, (strips,).
        frames: Length of a window.
        stride: Frames from the start of one window to the start of the next. Each start is rounded to a whole frame,
            so that windows do not drift.
    """
    rows, firsts = [], []
    for row, length in enumerate(lengths.tolist()):
        last = max(length - frames, 0)
        first = (torch.arange(math.ceil(last / stride), dtype=torch.float64) * stride).round().long()
        firsts.append(torch.cat([first[first < last], torch.tensor([last])]))
        rows.append(torch.full((len(firsts[-1]),), row))
    return torch.cat(rows), torch.cat(firsts)
