"""Augmentation of log-mel crops in time and level: every crop of a batch gets its own random values, without a loop.

All functions are pure. They draw from the given generator, which must be on the crops' device. Crops are
(batch, 1, n_mels, frames) in dB.
"""

import torch
from torch import Tensor

from birdclef.augment.draws import draw_between, draw_chosen, draw_uniform, per_crop


def draw_rates(batch: int, rate_range: tuple[float, float], probability: float, generator: torch.Generator) -> Tensor:
    """Returns the playback rate of each crop, (batch,): drawn uniformly from the range, or 1 for crops not chosen."""
    rates = draw_between(batch, rate_range, generator)
    return torch.where(draw_chosen(batch, probability, generator), rates, 1.0)


def draw_warp(batch: int, frames: int, max_shift_frames: int, probability: float, generator: torch.Generator) -> Tensor:
    """Returns the source position of each frame of each crop, relative to the crop's start, (batch, frames).

    A warped crop moves one inner point by up to `max_shift_frames` and interpolates linearly on both sides of it, as
    time warping in SpecAugment does along the time axis (Park et al. 2019, https://arxiv.org/abs/1904.08779).
    """
    device = generator.device
    time = torch.arange(frames, device=device, dtype=torch.float32).expand(batch, frames)
    reach = float(min(max_shift_frames, (frames - 1) // 2))
    pivot = reach + (frames - 1 - 2 * reach) * draw_uniform(batch, generator)
    shift = reach * (2 * draw_uniform(batch, generator) - 1)
    shift = torch.where(draw_chosen(batch, probability, generator), shift, 0.0)
    pivot, target = pivot.unsqueeze(1), (pivot + shift).unsqueeze(1)  # (batch, 1)
    last = frames - 1
    before = time * target / pivot.clamp(min=1e-6)
    after = target + (time - pivot) * (last - target) / (last - pivot).clamp(min=1e-6)
    return torch.where(time < pivot, before, after)  # (batch, frames)


def random_gain(
    log_mel: Tensor, max_gain_db: float, probability: float, floor_db: float, generator: torch.Generator
) -> Tensor:
    """Shift chosen crops by a uniform gain in ±max_gain_db; values below the floor are raised to the floor.

    A model that subtracts each band's median does not see this gain.
    """
    gain = draw_between(len(log_mel), (-max_gain_db, max_gain_db), generator)
    gain = torch.where(draw_chosen(len(log_mel), probability, generator), gain, 0.0)
    return (log_mel + per_crop(gain)).clamp(min=floor_db)
