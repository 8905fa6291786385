"""Contrastive loss for soft labels, as mixup makes them."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from birdclef.losses.contrast import ContrastBatch, Reduction, exclude_itself, normalise, weigh_anchors
from birdclef.losses.log_partition import split_rows, weigh_log_partitions


class SoftContrastLoss(nn.Module):
    """GenSCL of Kim et al. 2022 (https://arxiv.org/abs/2206.00384): cross-entropy of label and latent similarity.

        L_i = - sum_{a != i} (y_i · y_a / sum_{b != i} y_i · y_b) log( exp(s_ia) / sum_{b != i} exp(s_ib) )

    s_ia is z_i · z_a / temperature; y are the label distributions, L2-normalised: y_i · y_a is their cosine. With hard
    labels it is 1 or 0, and the loss is L_out of `SupConLoss` with weight 1.

    The official code (https://github.com/kiimmm/GenSCL) multiplies the loss by temperature / 0.07, adds 1e-8 to the sum
    of similarities, and counts an anchor that is similar to no other row as 0 in the mean; here it leaves the mean.

    Rows that share no species, but of which one sings in the other's recording, are ignored.

    Args:
        temperature: Softmax temperature, > 0.
        reduction: Over anchors that share a species with another row.
    """

    def __init__(self, temperature: float, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.temperature = temperature
        self.reduction: Reduction = reduction

    def forward(self, batch: ContrastBatch) -> Tensor:
        """Returns the loss, a scalar in nats.

        Raises:
            ValueError: If the batch has no targets.
        """
        if batch.targets is None:
            raise ValueError("The soft contrastive loss compares label distributions. Set ContrastBatch.targets.")
        with torch.autocast(batch.embeddings.device.type, enabled=False):
            embeddings = normalise(batch.embeddings)  # (batch, dim)
            targets = normalise(batch.targets.detach()).to(embeddings.dtype)  # (batch, classes)
            blocks = [average_alike(embeddings, targets, rows) for rows in split_rows(len(embeddings))]
            means, totals = (torch.cat(parts) for parts in zip(*blocks, strict=True))  # (batch, dim), (batch,)
            anchors = embeddings / self.temperature
            weights = weigh_anchors(totals > 0, self.reduction, embeddings.dtype)  # (batch,)
            secondary = None if batch.secondary is None else batch.secondary.to(targets.dtype)  # (batch, classes)

            def adjust(logits: Tensor, rows: slice) -> None:
                exclude_itself(logits, rows)
                if secondary is not None:
                    logits.masked_fill_(find_linked(rows, targets, secondary), torch.finfo(logits.dtype).min)

            alike = (anchors * means).sum(dim=1)  # (batch,)
            return weigh_log_partitions(anchors, embeddings, weights, adjust) - weights @ alike


def average_alike(embeddings: Tensor, targets: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """Returns the mean of all rows weighted by their similarity to each anchor, and the sum of the similarities.

    The similarities are computed again for the gradient, so that they need memory for one block only.

    Args:
        embeddings: (batch, dim).
        targets: L2-normalised label distributions, (batch, classes).
        rows: The anchors.

    Returns:
        (anchors, dim) and (anchors,); zero for an anchor that is similar to no other row.
    """

    def average(embeddings: Tensor) -> tuple[Tensor, Tensor]:
        similarity = targets[rows] @ targets.T  # (anchors, batch)
        similarity.diagonal(rows.start).zero_()
        total = similarity.sum(dim=1)
        return similarity @ embeddings / total.where(total > 0, 1).unsqueeze(1), total

    mean, total = checkpoint(average, embeddings, use_reentrant=False, preserve_rng_state=False)
    return mean, total


def find_linked(rows: slice, targets: Tensor, secondary: Tensor) -> Tensor:
    """Returns which anchors and rows share no species while one sings in the other's recording, (anchors, batch) bool.

    Args:
        rows: The anchors.
        targets: Label distributions, (batch, classes).
        secondary: Species that also sing in the row's recording, 1 or 0, (batch, classes).
    """
    sings = secondary[rows] @ targets.T + targets[rows] @ secondary.T  # (anchors, batch)
    return (sings > 0) & (targets[rows] @ targets.T == 0)
