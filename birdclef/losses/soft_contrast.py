"""Contrastive loss for soft labels, which mixup produces."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from birdclef.losses.contrast import ContrastBatch, exclude_itself, normalise, weigh_anchors
from birdclef.losses.log_partition import split_rows, weigh_log_partitions


class SoftContrastLoss(nn.Module):
    """GenSCL of Kim et al. 2022 (https://arxiv.org/abs/2206.00384): cross-entropy of label and latent similarity.

        L_i = - sum_{a != i} (y_i · y_a / sum_{b != i} y_i · y_b) log( exp(s_ia) / sum_{b != i} exp(s_ib) )

    s_ia is z_i · z_a / temperature. y are the L2-normalised label distributions, so y_i · y_a is their cosine. With
    hard labels the cosine is 1 or 0, and the loss is L_out of `SupConLoss` with weight 1. The loss is the mean of L_i
    over the anchors that share a species with another row.

    The official code (https://github.com/kiimmm/GenSCL) multiplies the loss by temperature / 0.07 and adds 1e-8 to the
    sum of similarities. It counts an anchor that is similar to no other row as 0 in the mean; here such an anchor is
    left out of the mean.

    Two rows that share no species are ignored as a pair if a species of one sings in the recording of the other.

    Args:
        temperature: Softmax temperature, > 0.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

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
            weights = weigh_anchors(totals > 0, embeddings.dtype)  # (batch,)
            secondary = None if batch.secondary is None else batch.secondary.to(targets.dtype)  # (batch, classes)

            def adjust(logits: Tensor, rows: slice) -> None:
                exclude_itself(logits, rows)
                if secondary is not None:
                    logits.masked_fill_(find_linked_targets(rows, targets, secondary), torch.finfo(logits.dtype).min)

            alike = (anchors * means).sum(dim=1)  # (batch,)
            return weigh_log_partitions(anchors, embeddings, weights, adjust) - weights @ alike


def average_alike(embeddings: Tensor, targets: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """Returns, for each anchor, the mean of all rows weighted by label similarity, and the sum of the similarities.

    The backward pass computes the similarities again, so that only one block of them is in memory.

    Args:
        embeddings: L2-normalised, (batch, dim).
        targets: L2-normalised label distributions, (batch, classes).
        rows: Rows of the batch that are the anchors.

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


def find_linked_targets(rows: slice, targets: Tensor, secondary: Tensor) -> Tensor:
    """Returns which rows each anchor is linked to by a secondary label, (anchors, batch) bool.

    An anchor and a row are linked if they share no species and a species of one sings in the recording of the other.
    `contrast.find_linked_labels` does the same for hard labels.

    Args:
        rows: Rows of the batch that are the anchors.
        targets: Label distributions, (batch, classes).
        secondary: Which other species sing in the row's recording, 1 or 0, (batch, classes).
    """
    sings = secondary[rows] @ targets.T + targets[rows] @ secondary.T  # (anchors, batch)
    return (sings > 0) & (targets[rows] @ targets.T == 0)
