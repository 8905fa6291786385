"""Masks over mel bands and frames: what they cover is 0 at the model's input (SpecAugment)."""

import math

import torch
from torch import Tensor

from birdclef.augment.draws import draw_chosen


def draw_cover(
    batch: int, size: int, max_share: float, count: int, probability: float, generator: torch.Generator
) -> Tensor:
    """Returns which places of an axis are masked in each crop, (batch, size) bool.

    SpecAugment, Park et al. 2019, https://arxiv.org/abs/1904.08779. The bound holds for all masks of a crop together: a
    number of places is drawn uniformly from 0 to `max_share` of the axis and divided at random among the masks. Masks
    may overlap.

    Args:
        batch: Number of crops.
        size: Number of bands or frames.
        max_share: Largest share of the axis that all masks of a crop cover together.
        count: Number of masks.
        probability: Share of the crops that get masks.
        generator: Source of randomness.
    """
    device = generator.device
    if not count:
        return torch.zeros(batch, size, dtype=torch.bool, device=device)
    most = math.floor(max_share * size)
    total = (torch.rand(batch, 1, generator=generator, device=device) * (most + 1)).floor()  # (batch, 1)
    cuts = (torch.rand(batch, count - 1, generator=generator, device=device) * (total + 1)).floor().sort(dim=1).values
    ends = torch.cat([torch.zeros_like(total), cuts, total], dim=1)  # (batch, count + 1)
    width = ends.diff(dim=1)  # (batch, count)
    first = (torch.rand(batch, count, generator=generator, device=device) * (size - width + 1)).floor()
    place = torch.arange(size, device=device)
    covered = (place >= first.unsqueeze(-1)) & (place < (first + width).unsqueeze(-1))  # (batch, count, size)
    return covered.any(dim=1) & draw_chosen(batch, probability, generator).unsqueeze(1)


def cover(crops: Tensor, bands: Tensor, frames: Tensor, level: Tensor) -> Tensor:
    """Returns crops whose masked bands and frames have a given level, (batch, 1, n_mels, frames) in dB.

    Args:
        crops: (batch, 1, n_mels, frames) in dB.
        bands: Masked bands, (batch, n_mels) bool.
        frames: Masked frames, (batch, frames) bool.
        level: Level that the model's normalisation turns into 0, dB; it broadcasts over crops. With `band_median` it is
            each band's median: if cells are set to it, the median stays the same. So the model sees 0 in these cells,
            and in all others what it would see without a mask.
    """
    masked = frames.unsqueeze(2) | bands.unsqueeze(1)  # (batch, frames, n_mels): in memory, crops lie like this
    return torch.where(masked.transpose(1, 2).unsqueeze(1), level, crops)
