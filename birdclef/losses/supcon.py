"""Supervised contrastive loss."""

from typing import Literal

import torch
from torch import Tensor, nn

from birdclef.losses.contrast import (
    ContrastBatch,
    exclude_itself,
    exclude_linked,
    normalise,
    number_groups,
    sum_by_group,
    weigh_anchors,
)
from birdclef.losses.log_partition import weigh_log_partitions


class SupConLoss(nn.Module):
    """L_out, equation 2 of Khosla et al. 2020 (https://arxiv.org/abs/2004.11362), over any number of views.

    The positives P(i) of a row are the other rows of its species. Two crops of one recording are alike in microphone
    and background as much as in the bird. So the mean over P(i) is weighted, sum w log p / sum w, with w =
    `same_recording_weight` for positives from the anchor's own recording and w = 1 for others. Anchors without a
    positive are left out. With weight 1 and the sum over anchors this loss is that equation.

    With weight 0, pairs from one recording are ignored: they are neither positive nor negative. If they stayed in the
    denominator, they would be pushed apart although they are of one species.

    Rows that are linked by a secondary label are ignored as well (`contrast.exclude_linked`). If no anchor has a
    positive, the loss is 0 with zero gradient.

    The official code (https://github.com/HobbitLong/SupContrast) multiplies the loss by temperature / 0.07. Equation 2
    does not have this factor, and neither does this loss.

    Args:
        temperature: Softmax temperature, > 0.
        same_recording_weight: Weight of positives from the anchor's own recording, in [0, 1].
        reduction: Whether the loss is the mean or the sum over the anchors.
    """

    def __init__(
        self, temperature: float, same_recording_weight: float = 0.5, reduction: Literal["mean", "sum"] = "mean"
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.temperature = temperature
        self.same_recording_weight = same_recording_weight

    def forward(self, batch: ContrastBatch) -> Tensor:
        """Returns the loss, a scalar in nats."""
        labels, recordings = batch.labels, batch.recordings
        with torch.autocast(batch.embeddings.device.type, enabled=False):
            embeddings = normalise(batch.embeddings)  # (batch, dim)
            positives, weight = sum_positives(embeddings, batch, self.same_recording_weight)
            anchors = embeddings / self.temperature
            alike = (anchors * positives).sum(dim=1) / weight.where(weight > 0, 1)  # (batch,)
            counted = weight > 0
            mean_weights = weigh_anchors(counted, embeddings.dtype)  # (batch,)
            weights = mean_weights if self.reduction == "mean" else counted.to(embeddings.dtype)  # (batch,)

            def adjust(logits: Tensor, rows: slice) -> None:
                exclude_itself(logits, rows)
                exclude_linked(logits, rows, batch)
                if self.same_recording_weight == 0:
                    twins = (recordings[rows].unsqueeze(1) == recordings) & (labels[rows].unsqueeze(1) == labels)
                    logits.masked_fill_(twins, torch.finfo(logits.dtype).min)

            return weigh_log_partitions(anchors, embeddings, weights, adjust) - weights @ alike


def sum_positives(embeddings: Tensor, batch: ContrastBatch, same_recording_weight: float) -> tuple[Tensor, Tensor]:
    """Returns the weighted sum of each row's positives, (batch, dim), and the sum of their weights, (batch,).

    The similarities of an anchor to its positives add up to its similarity to their sum, so no pair has to be computed.
    The sum of a species is built from the sums of its recordings, so the share of the anchor's own recording cancels
    exactly.

    Args:
        embeddings: L2-normalised, (batch, dim).
        batch: Labels and recordings of the rows.
        same_recording_weight: Weight of positives from the row's own recording; other positives have weight 1.
    """
    batch_size = len(embeddings)
    species, recordings = number_groups(batch.labels), number_groups(batch.recordings)
    groups = number_groups(species * batch_size + recordings)
    species_of_group = torch.zeros_like(groups).scatter(0, groups, species)  # (batch,); unused groups are at the end
    counted = torch.cat([embeddings, embeddings.new_ones(batch_size, 1)], dim=1)  # (batch, dim + 1)
    by_recording = sum_by_group(counted, groups, batch_size)  # (groups, dim + 1)
    by_species = sum_by_group(by_recording, species_of_group, batch_size)  # (species, dim + 1)
    together = by_recording[groups]  # (batch, dim + 1)
    sums = by_species[species] - together + same_recording_weight * (together - counted)
    return sums[:, :-1], sums[:, -1]
