"""Crops of resident strips: where they lie in time, and their gathering as one tensor operation."""

import torch
from torch import Tensor

from birdclef.residency import ResidentStrips


def draw_offsets(lengths: Tensor, frames: int, generator: torch.Generator) -> Tensor:
    """Returns a random first frame for a crop of each strip, (batch,) float32.

    A strip shorter than the crop may start anywhere: it is repeated.

    Args:
        lengths: Frames of each strip, (batch,).
        frames: Length of a crop.
        generator: On the device of `lengths`.
    """
    room = torch.where(lengths >= frames, lengths - frames + 1, lengths)
    unit = torch.rand(len(lengths), generator=generator, device=lengths.device)
    return (unit * room).floor()


def gather_crops(strips: ResidentStrips, rows: Tensor, positions: Tensor) -> Tensor:
    """Returns crops at any positions of their strips, linearly interpolated in dB between frames.

    Positions outside a strip wrap around, so a short recording is repeated.

    Args:
        strips: Resident strips.
        rows: Index of each crop's strip, (batch,).
        positions: Frame that each frame of the crop is read at, relative to its strip, (batch, frames) float.

    Returns:
        Log-mel crops in dB, (batch, 1, n_mels, frames) float32.
    """
    lower = positions.floor()
    weight = (positions - lower).unsqueeze(-1)  # (batch, frames, 1)
    starts, lengths = strips.starts[rows].unsqueeze(1), strips.lengths[rows].unsqueeze(1)  # (batch, 1)
    first = lower.long()
    below = strips.decibels(strips.values[starts + first % lengths])  # (batch, frames, n_mels)
    above = strips.decibels(strips.values[starts + (first + 1) % lengths])  # (batch, frames, n_mels)
    crops = torch.lerp(below, above, weight)  # (batch, frames, n_mels)
    return crops.transpose(1, 2).unsqueeze(1)  # (batch, 1, n_mels, frames)


def gather_windows(strips: ResidentStrips, rows: Tensor, first_frames: Tensor, frames: int) -> Tensor:
    """Returns windows at whole frames, (batch, 1, n_mels, frames) float32 in dB; they wrap around their strip."""
    positions = first_frames.unsqueeze(1) + torch.arange(frames, device=first_frames.device)  # (batch, frames)
    starts, lengths = strips.starts[rows].unsqueeze(1), strips.lengths[rows].unsqueeze(1)  # (batch, 1)
    windows = strips.decibels(strips.values[starts + positions % lengths])  # (batch, frames, n_mels)
    return windows.transpose(1, 2).unsqueeze(1)  # (batch, 1, n_mels, frames)
