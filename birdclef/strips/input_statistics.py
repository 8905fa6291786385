"""Mean and standard deviation of the strips, with which a model standardises its input."""

import math

import torch
from torch import Tensor

from birdclef.config.model import Normalisation
from birdclef.strips.residency import Strips

_LEAST_DEVIATION = 1e-3
"""Lower limit of a deviation, so that constant values are not divided by zero."""


def input_statistics(strips: Strips, normalisation: Normalisation) -> tuple[Tensor | float, Tensor | float]:
    """Returns mean and standard deviation as `SpeciesModel.set_input_statistics` takes them: per channel, or of all."""
    return channel_statistics(strips) if normalisation == "channel" else compute_statistics(strips)


def compute_statistics(strips: Strips) -> tuple[float, float]:
    """Returns mean and standard deviation of all values, in dB; the deviation is at least 0.001."""
    count, total, squares = 0, 0.0, 0.0
    for block in strips.blocks():
        values = block.double()
        count += values.numel()
        total += float(values.sum())
        squares += float(values.square().sum())
    mean = total / count
    # Rounding can make the variance of nearly constant strips slightly negative.
    return mean, max(math.sqrt(max(squares / count - mean**2, 0.0)), _LEAST_DEVIATION)


def channel_statistics(strips: Strips) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of each channel, (channels, 1) float32 on the CPU.

    The deviation is at least 0.001.
    """
    count = 0
    total, squares = (torch.zeros(strips.channels, dtype=torch.float64) for _ in range(2))
    for block in strips.blocks():
        values = block.double().cpu()
        count += len(values)
        total += values.sum(dim=0)
        squares += values.square().sum(dim=0)
    mean = total / count
    deviation = (squares / count - mean**2).clamp(min=0).sqrt().clamp(min=_LEAST_DEVIATION)
    return mean.float().unsqueeze(1), deviation.float().unsqueeze(1)
