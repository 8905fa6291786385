"""Augmentation of log-mel crops on their device: every sample of a batch is drawn on its own, without a loop.

All functions are pure, take crops (batch, 1, n_mels, frames) in dB, and draw from the given generator, which lives
on the crops' device. A gain is an offset in dB; sounds add in power, so what mixes takes and gives power.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]

LOG10_OVER_10 = math.log(10) / 10
_LEAST_UNIFORM = 1e-7


def draw_time_map(
    batch: int,
    frames: int,
    stretch_rate: tuple[float, float],
    stretch_probability: float,
    warp_frames: int,
    warp_probability: float,
    generator: torch.Generator,
) -> Tensor:
    """Returns the source position of each frame of each crop, relative to the crop's start, (batch, frames).

    A stretched crop plays at a rate drawn from `stretch_rate`. A warped crop moves one inner point by up to
    `warp_frames` and interpolates linearly on both sides, as time warping in SpecAugment (Park et al. 2019,
    https://arxiv.org/abs/1904.08779) does along the time axis.
    """
    device = generator.device
    time = torch.arange(frames, device=device, dtype=torch.float32).expand(batch, frames)
    low, high = stretch_rate
    rate = low + (high - low) * _uniform(batch, generator)
    rate = torch.where(_chosen(batch, stretch_probability, generator), rate, 1.0)

    reach = float(min(warp_frames, (frames - 1) // 2))
    pivot = reach + (frames - 1 - 2 * reach) * _uniform(batch, generator)
    shift = reach * (2 * _uniform(batch, generator) - 1)
    shift = torch.where(_chosen(batch, warp_probability, generator), shift, 0.0)
    pivot, target = pivot.unsqueeze(1), (pivot + shift).unsqueeze(1)  # (batch, 1)
    last = frames - 1
    before = time * target / pivot.clamp(min=1e-6)
    after = target + (time - pivot) * (last - target) / (last - pivot).clamp(min=1e-6)
    warped = torch.where(time < pivot, before, after)  # (batch, frames)
    return warped * rate.unsqueeze(1)


def random_gain(
    log_mel: Tensor, max_gain_db: float, probability: float, floor_db: float, generator: torch.Generator
) -> Tensor:
    """Shift chosen crops by a uniform gain in ±max_gain_db; values stay at or above the floor."""
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
    """Returns crops with a background added, at a signal-to-background ratio of each crop's own.

    The ratio is that of the mean powers over bands and frames.

    Args:
        power: Of the signal, (batch, 1, n_mels, frames).
        background: Its power, of the same shape; its level does not matter.
        snr_db: Ratio, (batch,); +inf leaves the crop as it is.
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
    """Mix a background, both given as power, into chosen crops at a uniformly drawn signal-to-background ratio."""
    low, high = snr_range_db
    snr_db = low + (high - low) * _uniform(len(power), generator)
    snr_db = torch.where(_chosen(len(power), probability, generator), snr_db, torch.inf)
    return mix_at_snr(power, background, snr_db)


def random_noise(
    power: Tensor, snr_range_db: tuple[float, float], probability: float, generator: torch.Generator
) -> Tensor:
    """Add Gaussian noise to the power of chosen crops at a uniformly drawn signal-to-noise ratio.

    The power of Gaussian noise in a time-frequency cell is exponentially distributed.
    """
    uniform = torch.rand(power.shape, dtype=power.dtype, generator=generator, device=power.device)
    noise = uniform.clamp_(min=_LEAST_UNIFORM).log_().neg_()  # five times faster than exponential_ on a CPU
    return random_background(power, noise, snr_range_db, probability, generator)


def random_mask(
    log_mel: Tensor, dim: int, max_share: float, count: int, probability: float, generator: torch.Generator
) -> Tensor:
    """Replace bands (`dim=2`) or frames (`dim=3`) of chosen crops by the crop's mean (SpecAugment).

    Each of `count` masks covers a uniformly drawn 0 to `max_share` of the axis, in one piece.
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
    """Returns crops mixed in power with others of the batch, in dB.

    Args:
        log_mel: (batch, 1, n_mels, frames) in dB.
        share: Of each crop itself, (batch, 1, 1, 1).
        partner: Index of the other one, (batch,).
    """
    power = to_power(log_mel)
    return to_decibels(share * power + (1 - share) * power[partner])


def mixup(
    crops: Tensor, targets: Tensor, alpha: float, generator: torch.Generator, mix: Mix = mix_power
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns crops mixed with a shuffled batch, targets mixed in the same shares, and each crop's partner.

    Zhang et al. 2018, https://arxiv.org/abs/1710.09412, with λ ~ Beta(alpha, alpha) for each sample.

    Args:
        crops: (batch, 1, n_mels, frames) in dB.
        targets: Class probabilities, (batch, classes).
        alpha: Parameter of the Beta distribution, > 0.
        generator: Source of randomness.
        mix: How two crops are mixed; by default in power.
    """
    batch = len(crops)
    share = _sample_beta(batch, alpha, generator)  # (batch,)
    partner = torch.randperm(batch, generator=generator, device=crops.device)
    mixed = mix(crops, _per_sample(share), partner)
    return mixed, share.unsqueeze(1) * targets + (1 - share).unsqueeze(1) * targets[partner], partner


def _sample_beta(batch: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Returns draws of Beta(alpha, alpha) in the open interval, (batch,)."""
    concentration = torch.full((batch, 2), alpha, device=generator.device)
    gamma = torch._standard_gamma(concentration, generator=generator)  # (batch, 2)
    return (gamma[:, 0] / gamma.sum(dim=1)).clamp(1e-4, 1 - 1e-4)


def _uniform(batch: int, generator: torch.Generator) -> Tensor:
    return torch.rand(batch, generator=generator, device=generator.device)


def _chosen(batch: int, probability: float, generator: torch.Generator) -> Tensor:
    return _uniform(batch, generator) < probability


def _per_sample(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
