"""A random filter over mel bands that changes the song and leaves the steady background."""

import torch
from torch import Tensor

from birdclef.augment.draws import draw_chosen
from birdclef.augment.mixing_at_ratio import to_power

_PIECES = 4


def draw_filter(batch: int, n_mels: int, max_gain_db: float, probability: float, generator: torch.Generator) -> Tensor:
    """Returns the gain of each band in each crop, (batch, n_mels) in dB; crops that are not chosen have 0.

    This is the linear type of FilterAugment, Nam et al. 2022, https://arxiv.org/abs/2110.03282: the gains at the ends
    of the spectrum and at random bands between them are drawn uniformly, and interpolated in dB.

    Args:
        batch: Number of crops.
        n_mels: Number of bands.
        max_gain_db: Gains lie between minus and plus this value, dB.
        probability: Share of the crops that are filtered.
        generator: Source of randomness.
    """
    device = generator.device
    inner = torch.rand(batch, _PIECES - 1, generator=generator, device=device).sort(dim=1).values
    ends = torch.tensor([0.0, 1.0], device=device).expand(batch, 2)
    knots = torch.cat([ends[:, :1], inner, ends[:, 1:]], dim=1) * (n_mels - 1)  # (batch, pieces + 1)
    gains = max_gain_db * (2 * torch.rand(batch, _PIECES + 1, generator=generator, device=device) - 1)
    bands = torch.arange(n_mels, device=device)
    piece = (bands >= knots[:, 1:-1].unsqueeze(2)).sum(dim=1)  # (batch, n_mels)
    left, right = knots.gather(1, piece), knots.gather(1, piece + 1)
    weight = (bands - left) / (right - left).clamp(min=1e-6)
    gain = torch.lerp(gains.gather(1, piece), gains.gather(1, piece + 1), weight)
    return gain * draw_chosen(batch, probability, generator).unsqueeze(1)


def filter_song(power: Tensor, floor: Tensor, gain_db: Tensor) -> Tensor:
    """Returns crops whose sound above the floor of each band is multiplied by the band's gain, as power.

    What lies at or below the floor stays. A gain on everything would move the floor as well, and a model that subtracts
    each band's median would see no difference.

    Args:
        power: Power of the crops, (batch, 1, n_mels, frames).
        floor: Power of each band's steady background, (batch, 1, n_mels, 1).
        gain_db: Gain of each band, (batch, n_mels) in dB.
    """
    change = to_power(gain_db)[:, None, :, None] - 1
    return torch.addcmul(power, (power - floor).clamp_(min=0), change)
