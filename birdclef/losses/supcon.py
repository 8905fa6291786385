"""Supervised contrastive loss."""

import torch
from torch import Tensor, nn

from birdclef.losses.contrast import (
    ContrastBatch,
    Reduction,
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

    A row's positives P(i) are the other rows of its species, and they are counted, never derived. Of two crops of one
    recording the microphone and the background say as much as the bird; so the mean over P(i) is weighted, with
    `same_recording_weight` for positives from the anchor's own recording and 1 for others: sum w log p / sum w. With
    weight 1 and `sum` this is the equation as printed.

    With weight 0, pairs from one recording are ignored: neither positive nor negative. In the denominator alone
    they would be pushed apart, although they are one species.

    Rows linked by a secondary label are ignored as well (`contrast.exclude_linked`). An anchor without a positive
    leaves the mean; if no anchor has one, the loss is 0 with zero gradient.

    The official code (https://github.com/HobbitLong/SupContrast) multiplies the loss by temperature / 0.07; equation 2
    has no such factor, nor has this.

    Args:
        temperature: Softmax temperature, > 0.
        same_recording_weight: Of positives from the anchor's recording, in [0, 1].
        reduction: Over anchors that have a positive.
    """

    def __init__(self, temperature: float, same_recording_weight: float = 0.5, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.temperature = temperature
        self.same_recording_weight = same_recording_weight
        self.reduction: Reduction = reduction

    def forward(self, batch: ContrastBatch) -> Tensor:
        """Returns the loss, a scalar in nats."""
        labels, recordings = batch.labels, batch.recordings
        with torch.autocast(batch.embeddings.device.type, enabled=False):
            embeddings = normalise(batch.embeddings)  # (batch, dim)
            positives, weight = sum_positives(embeddings, batch, self.same_recording_weight)
            anchors = embeddings / self.temperature
            alike = (anchors * positives).sum(dim=1) / weight.where(weight > 0, 1)  # (batch,)
            weights = weigh_anchors(weight > 0, self.reduction, embeddings.dtype)  # (batch,)

            def adjust(logits: Tensor, rows: slice) -> None:
                exclude_itself(logits, rows)
                exclude_linked(logits, rows, batch)
                if self.same_recording_weight == 0:
                    twins = (recordings[rows].unsqueeze(1) == recordings) & (labels[rows].unsqueeze(1) == labels)
                    logits.masked_fill_(twins, torch.finfo(logits.dtype).min)

            return weigh_log_partitions(anchors, embeddings, weights, adjust) - weights @ alike


def sum_positives(embeddings: Tensor, batch: ContrastBatch, same_recording_weight: float) -> tuple[Tensor, Tensor]:
    """Returns the weighted sum of each row's positives, (batch, dim), and the sum of their weights, (batch,).

    The similarities of an anchor to its positives add up to its similarity to their sum, so no pair has to be looked
    at. Sums over species are made of sums over recordings: what the anchor's own recording adds then cancels exactly.

    Args:
        embeddings: (batch, dim).
        batch: Labels and recordings.
        same_recording_weight: Of positives from the row's recording; others have 1.
    """
    batch_size = len(embeddings)
    species, recordings = number_groups(batch.labels), number_groups(batch.recordings)
    groups = number_groups(species * batch_size + recordings)
    species_of_group = torch.zeros_like(groups).scatter(0, groups, species)  # (batch,), of which the last may be unused
    counted = torch.cat([embeddings, embeddings.new_ones(batch_size, 1)], dim=1)  # (batch, dim + 1)
    by_recording = sum_by_group(counted, groups, batch_size)  # (groups, dim + 1)
    by_species = sum_by_group(by_recording, species_of_group, batch_size)  # (species, dim + 1)
    together = by_recording[groups]  # (batch, dim + 1)
    sums = by_species[species] - together + same_recording_weight * (together - counted)
    return sums[:, :-1], sums[:, -1]
