"""Augmentation of crops of embeddings on their device: every crop gets its own random values, without a loop.

All functions are pure and take crops, (batch, 1, channels, windows). They draw from the given generator, which must be
on the crops' device.
"""

import torch
from torch import Tensor


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


def drop_channels(embeddings: Tensor, share: float, mean: Tensor, generator: torch.Generator) -> Tensor:
    """Set a share of the channels to their mean in all windows of a crop, and widen the others by 1 / (1 - share).

    The model subtracts the mean, so this is dropout at its input: a dropped channel is 0 there.

    Args:
        embeddings: (batch, 1, channels, windows).
        share: Share of the channels that are dropped, in [0, 1).
        mean: Mean that the model subtracts, of all values or of each channel, (channels, 1).
        generator: Source of randomness.
    """
    kept = torch.rand(*embeddings.shape[:3], 1, generator=generator, device=embeddings.device) >= share
    return mean + (embeddings - mean) * kept / (1 - share)


def mix_embeddings(embeddings: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    """Returns crops mixed with other crops of the batch.

    Args:
        embeddings: (batch, 1, channels, windows).
        share: Share of each crop in its mixture, (batch, 1, 1, 1).
        partner: Index of the other crop in each mixture, (batch,).
    """
    return share * embeddings + (1 - share) * embeddings[partner]
