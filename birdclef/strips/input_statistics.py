"""Mean and deviation of what is in the strips, by which a model standardises its input."""

import math

import torch
from torch import Tensor

from birdclef.config.model import Normalisation
from birdclef.strips.residency import Strips

_LEAST_DEVIATION = 1e-3  # a channel that never changes says nothing


def input_statistics(strips: Strips, normalisation: Normalisation) -> tuple[Tensor | float, Tensor | float]:
    """Returns what `SpeciesModel.set_input_statistics` needs."""
    return channel_statistics(strips) if normalisation == "channel" else compute_statistics(strips)


def compute_statistics(strips: Strips) -> tuple[float, float]:
    """Returns mean and standard deviation of all values, in dB."""
    count, total, squares = 0, 0.0, 0.0
    for block in strips.blocks():
        values = block.double()
        count += values.numel()
        total += float(values.sum())
        squares += float(values.square().sum())
    mean = total / count
    return mean, math.sqrt(squares / count - mean**2)


def channel_statistics(strips: Strips) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of each channel, (channels, 1) float32 on the CPU."""
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
