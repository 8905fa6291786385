"""Backbone for strips of embeddings: pools the windows of a crop into one feature vector."""

import torch
from torch import Tensor, nn


class WindowPool(nn.Module):
    """The plain or attention-weighted mean of a crop's windows, followed by a hidden layer.

    Attention computes the weight of each window from its embedding (equation 8 of Ilse et al. 2018,
    https://arxiv.org/abs/1802.04712, with a linear score). At the start all weights are equal.

    Attributes:
        num_features: Width of the hidden layer.
    """

    def __init__(self, channels: int, hidden: int, dropout: float, pool: str) -> None:
        super().__init__()
        self.num_features = hidden
        self.score = nn.Linear(channels, 1) if pool == "attention_pool" else None
        if self.score is not None:
            nn.init.zeros_(self.score.weight)
        self.hidden = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, hidden), nn.ReLU())

    def forward(self, embeddings: Tensor) -> Tensor:
        """Returns pooled features, (batch, hidden), of crops, (batch, 1, channels, windows)."""
        windows = embeddings.squeeze(1)  # (batch, channels, windows)
        if self.score is None:
            pooled = windows.mean(dim=2)  # (batch, channels)
        else:
            weights = self.score(windows.transpose(1, 2)).softmax(dim=1)  # (batch, windows, 1)
            pooled = torch.bmm(windows, weights).squeeze(2)  # (batch, channels)
        features: Tensor = self.hidden(pooled)
        return features
