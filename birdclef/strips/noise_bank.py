"""The noise bank: quiet crops of the training strips, which augmentation adds as background."""

from dataclasses import dataclass

import torch
from torch import Tensor

from birdclef.strips.residency import Strips


@dataclass(frozen=True)
class NoiseBank:
    """Positions of the quiet crops.

    Attributes:
        rows: Index of each crop's strip, (crops,).
        firsts: First frame of each crop, (crops,).
    """

    rows: Tensor
    firsts: Tensor


def build_noise_bank(strips: Strips, frame_levels: Tensor, frames: int) -> NoiseBank:
    """Returns the quietest crop of each strip that is at least two crops long, or of every strip if none is so long.

    Args:
        strips: Strips to search.
        frame_levels: Mean power of each frame of the strips, (total_frames,).
        frames: Length of a crop.
    """
    cumulative = torch.cat([frame_levels.new_zeros(1), frame_levels.cumsum(0)])  # (total_frames + 1,)
    long_enough = torch.nonzero(strips.lengths >= 2 * frames).flatten()
    rows = long_enough if len(long_enough) else torch.arange(len(strips))
    firsts = []
    for start, length in zip(strips.starts[rows].tolist(), strips.lengths[rows].tolist(), strict=True):
        span = min(frames, length)
        levels = cumulative[start + span : start + length + 1] - cumulative[start : start + length + 1 - span]
        firsts.append(int(levels.argmin()))
    return NoiseBank(rows, torch.tensor(firsts))
