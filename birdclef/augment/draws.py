"""Random values of a batch: one for each crop, from the given generator, on its device."""

import torch
from torch import Tensor


def draw_uniform(batch: int, generator: torch.Generator) -> Tensor:
    """Returns a number in [0, 1) for each crop, (batch,)."""
    return torch.rand(batch, generator=generator, device=generator.device)


def draw_between(batch: int, bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Returns a number between two bounds for each crop, (batch,)."""
    low, high = bounds
    return low + (high - low) * draw_uniform(batch, generator)


def draw_chosen(batch: int, probability: float, generator: torch.Generator) -> Tensor:
    """Returns whether each crop is chosen, (batch,) bool."""
    return draw_uniform(batch, generator) < probability


def per_crop(values: Tensor) -> Tensor:
    """Returns one value for each crop, (batch,), in a shape that broadcasts over crops, (batch, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)
