"""Mixup: mixtures of the crops of a batch, and of their targets."""

from collections.abc import Callable

import torch
from torch import Tensor

from birdclef.augment.draws import per_crop

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]


def mixup(
    crops: Tensor, targets: Tensor, alpha: float, generator: torch.Generator, mix: Mix
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns crops mixed with the shuffled batch, targets mixed in the same shares, and the index of each partner.

    Zhang et al. 2018, https://arxiv.org/abs/1710.09412, with λ ~ Beta(alpha, alpha) for each crop.

    Args:
        crops: (batch, 1, channels, frames).
        targets: Class probabilities, (batch, classes).
        alpha: Parameter of the Beta distribution, > 0.
        generator: Source of randomness.
        mix: Function that mixes crops, shares and partners.
    """
    batch = len(crops)
    share = _sample_beta(batch, alpha, generator)  # (batch,)
    partner = torch.randperm(batch, generator=generator, device=crops.device)
    mixed = mix(crops, per_crop(share), partner)
    return mixed, share.unsqueeze(1) * targets + (1 - share).unsqueeze(1) * targets[partner], partner


def _sample_beta(batch: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Returns draws of Beta(alpha, alpha) in the open interval (0, 1), (batch,)."""
    concentration = torch.full((batch, 2), alpha, device=generator.device)
    gamma = torch._standard_gamma(concentration, generator=generator)  # (batch, 2)
    return (gamma[:, 0] / gamma.sum(dim=1)).clamp(1e-4, 1 - 1e-4)
