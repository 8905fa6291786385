"""Augmentation of crops of embeddings on their device: every sample of a batch is drawn on its own, without a loop.

All functions are pure, take crops (batch, 1, channels, windows), and draw from the given generator, which lives on the
crops' device.
"""

import torch
from torch import Tensor

from birdclef.config.augment import EmbeddingAugmentConfig


def augment_embeddings(
    embeddings: Tensor, settings: EmbeddingAugmentConfig, deviation: Tensor, generator: torch.Generator
) -> Tensor:
    """Returns crops with noise on every value, and whole channels replaced by nothing.

    Args:
        embeddings: (batch, 1, channels, windows).
        settings: How much of each.
        deviation: Of each channel over the training strips, (channels, 1): noise is relative to it.
        generator: Source of randomness.
    """
    noisy = random_noise(embeddings, settings.noise_share * deviation, settings.noise_probability, generator)
    return drop_channels(noisy, settings.channel_dropout, generator)


def random_noise(embeddings: Tensor, deviation: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise to chosen crops.

    Args:
        embeddings: (batch, 1, channels, windows).
        deviation: Of the noise in each channel, (channels, 1).
        probability: Share of the crops that get it.
        generator: Source of randomness.
    """
    noise = torch.randn(embeddings.shape, generator=generator, device=embeddings.device) * deviation
    chosen = torch.rand(len(embeddings), generator=generator, device=embeddings.device) < probability
    return embeddings + noise * chosen.view(-1, 1, 1, 1)


def drop_channels(embeddings: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Set a share of the channels to 0 in all windows of a crop, and scale the others up by 1 / (1 - share)."""
    kept = torch.rand(*embeddings.shape[:3], 1, generator=generator, device=embeddings.device) >= share
    return embeddings * kept / (1 - share)


def mix_embeddings(embeddings: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    """Returns crops mixed with others of the batch.

    Args:
        embeddings: (batch, 1, channels, windows).
        share: Of each crop itself, (batch, 1, 1, 1).
        partner: Index of the other one, (batch,).
    """
    return share * embeddings + (1 - share) * embeddings[partner]
