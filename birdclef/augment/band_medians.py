"""Median of each mel band of a crop: the level of its steady background."""

import numpy as np
import torch
from torch import Tensor


def band_medians(crops: Tensor, needed: Tensor) -> Tensor:
    """Returns the median of each band over the frames, (batch, 1, n_mels, 1) in dB, as `torch.median` defines it.

    Crops that are not needed may get any finite value. A CPU leaves them out, because the median is its slowest step.

    Args:
        crops: (batch, 1, n_mels, frames) in dB.
        needed: Which crops' medians are needed, (batch,) bool.
    """
    if crops.device.type != "cpu":
        return crops.median(dim=3, keepdim=True).values
    rows, middle = np.flatnonzero(needed.numpy()), (crops.shape[3] - 1) // 2
    medians = np.zeros((*crops.shape[:3], 1), crops.numpy().dtype)
    chosen = np.ascontiguousarray(crops.numpy()[rows])  # (needed, 1, n_mels, frames)
    medians[rows] = np.partition(chosen, middle, axis=3)[..., middle : middle + 1]  # a quarter of torch.median's time
    return torch.from_numpy(medians)
