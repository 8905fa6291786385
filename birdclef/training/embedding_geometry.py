"""Alignment of positives and uniformity of all embeddings on the unit sphere.

Section 4.1 of Wang and Isola 2020, https://arxiv.org/abs/2005.10242. A contrastive loss balances the two. If all
embeddings collapse to one point, both are 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def alignment(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean squared distance of pairs of the same species: 0 if all coincide, 4 if all are opposite.

    Args:
        embeddings: (batch, dim), of any scale and float type; this function L2-normalises them.
        labels: Label index of each row, (batch,).

    Returns:
        Scalar; NaN if no species has two rows.
    """
    squared = _squared_distances(embeddings)  # (batch, batch)
    positive = (labels.unsqueeze(0) == labels.unsqueeze(1)).fill_diagonal_(False)
    return (squared * positive).sum() / positive.sum()


@torch.no_grad()
def uniformity(embeddings: Tensor) -> Tensor:
    """Returns the logarithm of the mean potential exp(-2 d²) of all pairs: 0 if all coincide, lower if they spread.

    Args:
        embeddings: (batch, dim), of any scale and float type; this function L2-normalises them.

    Returns:
        Scalar; NaN if there is only one row.
    """
    batch = len(embeddings)
    potential = (-2 * _squared_distances(embeddings)).exp()
    return ((potential.sum() - potential.diagonal().sum()) / (batch * (batch - 1))).log()


def _squared_distances(embeddings: Tensor) -> Tensor:
    """Returns the squared distances between the L2-normalised embeddings, (batch, batch)."""
    with torch.autocast(embeddings.device.type, enabled=False):
        normalised = F.normalize(embeddings.float(), dim=1)
        return (2 - 2 * normalised @ normalised.T).clamp(min=0)
