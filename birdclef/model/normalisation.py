"""Normalisation of crops: what a backbone receives."""

from torch import Tensor

from birdclef.config.model import Normalisation

_BAND_SCALE_DB = 10.0


def normalise(
    crops: Tensor, normalisation: Normalisation, mean_db: Tensor | float, deviation_db: Tensor | float
) -> Tensor:
    """Returns crops as the backbone receives them, (batch, 1, channels, frames).

    Args:
        crops: (batch, 1, channels, frames).
        normalisation: `dataset` and `channel` standardise with mean and deviation, `band_median` subtracts each band's
            median over the crop and divides by 10 dB.
        mean_db: Mean of all values, or of each channel, (channels, 1).
        deviation_db: Standard deviation of all values, or of each channel, (channels, 1).
    """
    if normalisation == "band_median":
        return (crops - crops.median(dim=3, keepdim=True).values) / _BAND_SCALE_DB
    return (crops - mean_db) / deviation_db
