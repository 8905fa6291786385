"""Sounds as power, in which they add up; their level in the bands of song, and mixtures at a ratio of levels.

Crops are (batch, 1, n_mels, frames). `bands` are the mel bands in which birds sing. The rumble of wind and traffic
below them may hold nearly all the power of a crop, and would hide how loud the song is.
"""

import math

import torch
from torch import Tensor

from birdclef.augment.draws import draw_between, draw_chosen, per_crop

LOG10_OVER_10 = math.log(10) / 10


def to_power(log_mel: Tensor) -> Tensor:
    """Returns the power of levels in dB."""
    return torch.exp(log_mel * LOG10_OVER_10)


def to_decibels(power: Tensor) -> Tensor:
    """Returns the level of a power in dB."""
    return torch.log(power) / LOG10_OVER_10


def song_power(power: Tensor, bands: slice) -> Tensor:
    """Returns the mean power of each crop over the bands of song and the frames, (batch,)."""
    return power[:, :, bands].mean(dim=(1, 2, 3))


def mix_at_snr(power: Tensor, background: Tensor, snr_db: Tensor, bands: slice) -> Tensor:
    """Returns crops with a background added at each crop's signal-to-background ratio, as power.

    The ratio compares the mean powers over the bands of song.

    Args:
        power: Power of the crops, (batch, 1, n_mels, frames).
        background: Power of the background, of the same shape; its level does not matter.
        snr_db: Ratio of each crop, dB, (batch,); +inf leaves the crop unchanged.
        bands: Bands of song.
    """
    ratio = song_power(power, bands) / song_power(background, bands) / to_power(snr_db)  # (batch,)
    return torch.addcmul(power, background, per_crop(ratio))


def mix_background(
    power: Tensor,
    background: Tensor,
    snr_range_db: tuple[float, float],
    probability: float,
    generator: torch.Generator,
    bands: slice,
) -> Tensor:
    """Add a background to chosen crops at a uniformly drawn signal-to-background ratio; all as power."""
    snr_db = draw_between(len(power), snr_range_db, generator)
    snr_db = torch.where(draw_chosen(len(power), probability, generator), snr_db, torch.inf)
    return mix_at_snr(power, background, snr_db, bands)


def mix_levelled(log_mel: Tensor, share: Tensor, partner: Tensor, bands: slice) -> Tensor:
    """Returns crops mixed in power with other crops of the batch, in dB.

    The other crop is first brought to the level that the crop has in the bands of song. So the share of a crop, which
    is the share of its label, is also its share of the power that is heard there.

    Args:
        log_mel: (batch, 1, n_mels, frames) in dB.
        share: Share of each crop in its mixture, (batch, 1, 1, 1).
        partner: Index of the other crop in each mixture, (batch,).
        bands: Bands of song.
    """
    power = to_power(log_mel)
    level = song_power(power, bands)  # (batch,)
    return to_decibels(share * power + (1 - share) * per_crop(level / level[partner]) * power[partner])
