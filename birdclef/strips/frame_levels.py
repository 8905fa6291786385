"""Computes the mean power of each frame."""

import torch
from torch import Tensor

from birdclef.strips.residency import Strips


def compute_frame_levels(strips: Strips) -> Tensor:
    """Returns the mean power of each frame of all strips, (total_frames,) float64 on the CPU."""
    return torch.cat([(10 ** (block.double() / 10)).mean(dim=1).cpu() for block in strips.blocks()])
