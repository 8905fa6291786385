"""Augmentation of crops of embeddings on their device: every crop gets its own random values, without a loop.

All functions are pure and take crops, (batch, 1, channels, windows). They draw from the given generator, which must be
on the crops' device.
"""

import torch
from torch import Tensor

from birdclef.config.augment import EmbeddingAugmentConfig


def augment_embeddings(
    embeddings: Tensor, settings: EmbeddingAugmentConfig, deviation: Tensor, generator: torch.Generator
) -> Tensor:
    """Returns crops with noise on every value and some channels set to 0.

    Args:
        embeddings: (batch, 1, channels, windows).
        settings: Strength of the noise, and share of the channels that are set to 0.
        deviation: Standard deviation of each channel over the training strips, (channels, 1). The noise is scaled by
            it.
        generator: Source of randomness.
    """
    noisy = random_noise(embeddings, settings.noise_share * deviation, settings.noise_probability, generator)
    return drop_channels(noisy, settings.channel_dropout, generator)


def random_noise(embeddings: Tensor, deviation: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise to chosen crops.

    Args:
        embeddings: (batch, 1, channels, windows).
        deviation: Standard deviation of the noise in each channel, (channels, 1).
        probability: Share of the crops that get noise.
        generator: Source of randomness.
    """
    noise = torch.randn(embeddings.shape, generator=generator, device=embeddings.device) * deviation
    chosen = torch.rand(len(embeddings), generator=generator, device=embeddings.device) < probability
    return embeddings + noise * chosen.view(-1, 1, 1, 1)


def drop_channels(embeddings: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Set a share of the channels to 0 in all windows of a crop, and multiply the others by 1 / (1 - share)."""
    kept = torch.rand(*embeddings.shape[:3], 1, generator=generator, device=embeddings.device) >= share
    return embeddings * kept / (1 - share)


def mix_embeddings(embeddings: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    """Returns crops mixed with other crops of the batch.

    Args:
        embeddings: (batch, 1, channels, windows).
        share: Share of each crop in its mixture, (batch, 1, 1, 1).
        partner: Index of the other crop in each mixture, (batch,).
    """
    return share * embeddings + (1 - share) * embeddings[partner]
