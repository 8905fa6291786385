"""Augmentation of log-mel crops on their device: every crop of a batch gets its own random values, without a loop.

All functions are pure. They draw from the given generator, which must be on the crops' device. Crops are
(batch, 1, n_mels, frames). A gain is an offset in dB. Sounds add in power, so functions that add sounds take and return
power; all others take and return dB.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]

LOG10_OVER_10 = math.log(10) / 10
_LEAST_UNIFORM = 1e-7


def draw_rates(batch: int, rate_range: tuple[float, float], probability: float, generator: torch.Generator) -> Tensor:
    """Returns the playback rate of each crop, (batch,): drawn uniformly from the range, or 1 for crops not chosen."""
    low, high = rate_range
    rates = low + (high - low) * _uniform(batch, generator)
    return torch.where(_chosen(batch, probability, generator), rates, 1.0)


def draw_warp(batch: int, frames: int, max_shift_frames: int, probability: float, generator: torch.Generator) -> Tensor:
    """Returns the source position of each frame of each crop, relative to the crop's start, (batch, frames).

    A warped crop moves one inner point by up to `max_shift_frames` and interpolates linearly on both sides of it, as
    time warping in SpecAugment does along the time axis (Park et al. 2019, https://arxiv.org/abs/1904.08779).
    """
    device = generator.device
    time = torch.arange(frames, device=device, dtype=torch.float32).expand(batch, frames)
    reach = float(min(max_shift_frames, (frames - 1) // 2))
    pivot = reach + (frames - 1 - 2 * reach) * _uniform(batch, generator)
    shift = reach * (2 * _uniform(batch, generator) - 1)
    shift = torch.where(_chosen(batch, probability, generator), shift, 0.0)
    pivot, target = pivot.unsqueeze(1), (pivot + shift).unsqueeze(1)  # (batch, 1)
    last = frames - 1
    before = time * target / pivot.clamp(min=1e-6)
    after = target + (time - pivot) * (last - target) / (last - pivot).clamp(min=1e-6)
    return torch.where(time < pivot, before, after)  # (batch, frames)


def random_gain(
    log_mel: Tensor, max_gain_db: float, probability: float, floor_db: float, generator: torch.Generator
) -> Tensor:
    """Shift chosen crops by a uniform gain in ±max_gain_db; values below the floor are raised to the floor."""
    gain = max_gain_db * (2 * _uniform(len(log_mel), generator) - 1)
    gain = torch.where(_chosen(len(log_mel), probability, generator), gain, 0.0)
    return (log_mel + _per_sample(gain)).clamp(min=floor_db)


def to_power(log_mel: Tensor) -> Tensor:
    """Returns the power of levels in dB."""
    return torch.exp(log_mel * LOG10_OVER_10)


def to_decibels(power: Tensor) -> Tensor:
    """Returns the level of a power in dB."""
    return torch.log(power) / LOG10_OVER_10


def mix_at_snr(power: Tensor, background: Tensor, snr_db: Tensor) -> Tensor:
    """Returns crops with a background added at each crop's signal-to-background ratio, as power.

    The ratio compares the mean powers over bands and frames.

    Args:
        power: Power of the crops, (batch, 1, n_mels, frames).
        background: Power of the background, of the same shape; its level does not matter.
        snr_db: Ratio of each crop, dB, (batch,); +inf leaves the crop unchanged.
    """
    ratio = power.mean(dim=(1, 2, 3)) / background.mean(dim=(1, 2, 3)) / to_power(snr_db)  # (batch,)
    return torch.addcmul(power, background, _per_sample(ratio))


def random_background(
    power: Tensor,
    background: Tensor,
    snr_range_db: tuple[float, float],
    probability: float,
    generator: torch.Generator,
) -> Tensor:
    """Add a background to chosen crops at a uniformly drawn signal-to-background ratio; all as power."""
    low, high = snr_range_db
    snr_db = low + (high - low) * _uniform(len(power), generator)
    snr_db = torch.where(_chosen(len(power), probability, generator), snr_db, torch.inf)
    return mix_at_snr(power, background, snr_db)


def random_noise(
    power: Tensor, snr_range_db: tuple[float, float], probability: float, generator: torch.Generator
) -> Tensor:
    """Add Gaussian noise to the power of chosen crops at a uniformly drawn signal-to-noise ratio.

    The power of Gaussian noise in each cell of a spectrogram is exponentially distributed.
    """
    uniform = torch.rand(power.shape, dtype=power.dtype, generator=generator, device=power.device)
    noise = uniform.clamp_(min=_LEAST_UNIFORM).log_().neg_()  # on a CPU five times faster than exponential_
    return random_background(power, noise, snr_range_db, probability, generator)


def random_mask(
    log_mel: Tensor, dim: int, max_share: float, count: int, probability: float, generator: torch.Generator
) -> Tensor:
    """Replace bands (`dim=2`) or frames (`dim=3`) of chosen crops by the crop's mean (SpecAugment).

    Each of `count` masks covers one piece of the axis. Its share is drawn uniformly from 0 to `max_share`.
    """
    batch, size = len(log_mel), log_mel.shape[dim]
    widest = math.floor(max_share * size)
    width = torch.rand(batch, count, generator=generator, device=log_mel.device) * (widest + 1)
    width = width.floor()  # (batch, count)
    first = (torch.rand(batch, count, generator=generator, device=log_mel.device) * (size - width + 1)).floor()
    index = torch.arange(size, device=log_mel.device)
    covered = (index >= first.unsqueeze(-1)) & (index < (first + width).unsqueeze(-1))  # (batch, count, size)
    covered = covered.any(dim=1) & _chosen(batch, probability, generator).unsqueeze(1)  # (batch, size)
    shape = [batch, 1, 1, 1]
    shape[dim] = size
    return torch.where(covered.view(shape), log_mel.mean(dim=(1, 2, 3), keepdim=True), log_mel)


def mix_power(log_mel: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    """Returns crops mixed in power with other crops of the batch, in dB.

    Args:
        log_mel: (batch, 1, n_mels, frames) in dB.
        share: Share of each crop in its mixture, (batch, 1, 1, 1).
        partner: Index of the other crop in each mixture, (batch,).
    """
    power = to_power(log_mel)
    return to_decibels(share * power + (1 - share) * power[partner])


def mixup(
    crops: Tensor, targets: Tensor, alpha: float, generator: torch.Generator, mix: Mix = mix_power
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns crops mixed with the shuffled batch, targets mixed in the same shares, and the index of each partner.

    Zhang et al. 2018, https://arxiv.org/abs/1710.09412, with λ ~ Beta(alpha, alpha) for each crop.

    Args:
        crops: (batch, 1, n_mels, frames) in dB.
        targets: Class probabilities, (batch, classes).
        alpha: Parameter of the Beta distribution, > 0.
        generator: Source of randomness.
        mix: Function that mixes crops, shares and partners; by default in power.
    """
    batch = len(crops)
    share = _sample_beta(batch, alpha, generator)  # (batch,)
    partner = torch.randperm(batch, generator=generator, device=crops.device)
    mixed = mix(crops, _per_sample(share), partner)
    return mixed, share.unsqueeze(1) * targets + (1 - share).unsqueeze(1) * targets[partner], partner


def _sample_beta(batch: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Returns draws of Beta(alpha, alpha) in the open interval (0, 1), (batch,)."""
    concentration = torch.full((batch, 2), alpha, device=generator.device)
    gamma = torch._standard_gamma(concentration, generator=generator)  # (batch, 2)
    return (gamma[:, 0] / gamma.sum(dim=1)).clamp(1e-4, 1 - 1e-4)


def _uniform(batch: int, generator: torch.Generator) -> Tensor:
    return torch.rand(batch, generator=generator, device=generator.device)


def _chosen(batch: int, probability: float, generator: torch.Generator) -> Tensor:
    return _uniform(batch, generator) < probability


def _per_sample(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
