"""Plans the windows of strips at a stride."""

import torch
from torch import Tensor


def plan_windows(lengths: Tensor, frames: int, stride: int) -> tuple[Tensor, Tensor]:
    """Returns the windows of strips: index of the strip and first frame, (windows,) int64 each.

    The last window ends at the end of its strip, so that every frame is covered. A strip that is shorter than a window
    gives one window.

    Args:
        lengths: Frames of each strip, (strips,).
        frames: Length of a window.
        stride: Frames from the start of one window to the start of the next.
    """
    rows, firsts = [], []
    for row, length in enumerate(lengths.tolist()):
        last = max(length - frames, 0)
        first = torch.arange(0, last, stride) if last else torch.empty(0, dtype=torch.int64)
        firsts.append(torch.cat([first, torch.tensor([last])]))
        rows.append(torch.full((len(firsts[-1]),), row))
    return torch.cat(rows), torch.cat(firsts)
