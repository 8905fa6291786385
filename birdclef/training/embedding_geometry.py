"""How embeddings lie on the sphere: alignment of positives and uniformity of all (Wang and Isola 2020).

https://arxiv.org/abs/2005.10242, section 4.1: what a contrastive loss trades off, and a collapse shows in both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def alignment(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean squared distance of the pairs of one species: 0 if all coincide, 4 if all are opposite.

    Args:
        embeddings: (batch, dim), of any scale and float type; they are L2-normalised here.
        labels: Species index, (batch,).

    Returns:
        Scalar; NaN without such a pair.
    """
    squared = _squared_distances(embeddings)  # (batch, batch)
    positive = (labels.unsqueeze(0) == labels.unsqueeze(1)).fill_diagonal_(False)
    return (squared * positive).sum() / positive.sum()


@torch.no_grad()
def uniformity(embeddings: Tensor) -> Tensor:
    """Returns the logarithm of the mean potential exp(-2 d²) of all pairs: 0 if all coincide, lower if they spread.

    Args:
        embeddings: (batch, dim), of any scale and float type; they are L2-normalised here.

    Returns:
        Scalar; NaN without a pair.
    """
    batch = len(embeddings)
    potential = (-2 * _squared_distances(embeddings)).exp()
    return ((potential.sum() - potential.diagonal().sum()) / (batch * (batch - 1))).log()


def _squared_distances(embeddings: Tensor) -> Tensor:
    """Returns squared distances of the normalised embeddings, (batch, batch)."""
    with torch.autocast(embeddings.device.type, enabled=False):
        normalised = F.normalize(embeddings.float(), dim=1)
        return (2 - 2 * normalised @ normalised.T).clamp(min=0)
