"""Contrastive loss between embeddings and the class means of their batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdclef.losses.contrast import ContrastBatch, count_classes, normalise, sum_by_group


class PrototypeContrastLoss(nn.Module):
    """ProtoCLR of Moummad et al. 2024 (https://arxiv.org/abs/2409.08589): each row against the class means.

        L_i = -log( exp(z_i · c_y / temperature) / sum_k exp(z_i · c_k / temperature) )

    c_k is the mean of the normalised embeddings of class k in the batch, including the anchor. It is not normalised
    again, as in the paper and the official code (https://github.com/ilyassmoummad/ProtoCLR). The sum is over the
    classes of the batch. A row that is alone in its class is compared with itself, and still learns to stay away from
    the other classes. The cost grows with rows times classes, not with pairs of rows. The loss is the mean of L_i over
    all rows.

    A class that also sings in the anchor's recording is removed from the anchor's denominator. A row in whose recording
    the anchor's species sings stays in the mean of its own class, because that mean is shared by all anchors.

    Args:
        classes: Number of classes. Classes that are absent from the batch do not count.
        temperature: Softmax temperature, > 0.
    """

    def __init__(self, classes: int, temperature: float) -> None:
        super().__init__()
        self.classes = classes
        self.temperature = temperature

    def forward(self, batch: ContrastBatch) -> Tensor:
        """Returns the loss, a scalar in nats."""
        with torch.autocast(batch.embeddings.device.type, enabled=False):
            embeddings = normalise(batch.embeddings)  # (batch, dim)
            labels, classes = batch.labels, self.classes
            counts = count_classes(labels, classes)
            prototypes = sum_by_group(embeddings, labels, classes) / counts.clamp(min=1).unsqueeze(1)  # (classes, dim)
            logits = embeddings @ prototypes.T / self.temperature  # (batch, classes)
            absent = (counts == 0).expand(len(labels), -1)  # (batch, classes)
            if batch.secondary is not None:
                absent = absent | batch.secondary.scatter(1, labels.unsqueeze(1), value=False)
            logits = logits.masked_fill(absent, torch.finfo(logits.dtype).min)
            return F.cross_entropy(logits, labels)
