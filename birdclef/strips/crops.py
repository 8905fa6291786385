"""Draws the positions of crops, and cuts crops and windows from strips in one tensor operation."""

import torch
from torch import Tensor

from birdclef.strips.residency import Strips


def draw_offsets(lengths: Tensor, frames: int, generator: torch.Generator) -> Tensor:
    """Returns a random first frame for a crop of each strip, (batch,) float32.

    In a strip that is shorter than the crop every frame may be the first one, because the strip is repeated.

    Args:
        lengths: Frames of each strip, (batch,).
        frames: Length of a crop.
        generator: Source of randomness, on the device of `lengths`.
    """
    room = torch.where(lengths >= frames, lengths - frames + 1, lengths)
    unit = torch.rand(len(lengths), generator=generator, device=lengths.device)
    return (unit * room).floor()


def gather_crops(strips: Strips, rows: Tensor, positions: Tensor) -> Tensor:
    """Returns crops at any positions of their strips, linearly interpolated in dB between frames.

    Positions outside a strip wrap around, so a short recording is repeated.

    Args:
        strips: Strips to cut the crops from.
        rows: Index of each crop's strip, (batch,) on the CPU.
        positions: Position in the strip of each frame of a crop, in frames, (batch, frames) float on the CPU.

    Returns:
        Log-mel crops in dB, (batch, 1, n_mels, frames) float32, on the device of `strips.place`.
    """
    lower = positions.floor()
    weight = (positions - lower).unsqueeze(-1).to(strips.place, non_blocking=True)  # (batch, frames, 1)
    first = lower.long()
    below, above = strips.take(rows, torch.cat([first, first + 1], dim=1)).chunk(2, dim=1)  # (batch, frames, n_mels)
    crops = torch.lerp(below, above, weight)  # (batch, frames, n_mels)
    return crops.transpose(1, 2).unsqueeze(1)  # (batch, 1, n_mels, frames)


def gather_windows(strips: Strips, rows: Tensor, first_frames: Tensor, frames: int) -> Tensor:
    """Returns windows at whole frames, (batch, 1, n_mels, frames) float32 in dB; they wrap around their strip.

    Args:
        strips: Strips to cut the windows from.
        rows: Index of each window's strip, (batch,) on the CPU.
        first_frames: First frame of each window, (batch,) on the CPU.
        frames: Length of a window.
    """
    return gather_crops_at(strips, rows, first_frames.unsqueeze(1) + torch.arange(frames))


def gather_crops_at(strips: Strips, rows: Tensor, frames: Tensor) -> Tensor:
    """Returns crops of any whole frames of their strips, (batch, 1, n_mels, frames) float32 in dB.

    Args:
        strips: Strips to cut the crops from.
        rows: Index of each crop's strip, (batch,) on the CPU.
        frames: Frames of each crop in its strip, (batch, frames) int64 on the CPU; they wrap around the strip.
    """
    crops = strips.take(rows, frames)  # (batch, frames, n_mels)
    return crops.transpose(1, 2).unsqueeze(1)  # (batch, 1, n_mels, frames)
