"""Parts that all contrastive losses use: their batch, unit vectors, excluded pairs, and weights of anchors."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ContrastBatch:
    """The rows that a contrastive loss compares: all views of all recordings of a batch.

    Attributes:
        embeddings: (batch, dim), of any scale and float type.
        labels: label_index of each row, (batch,). Any integers will do for a loss without prototypes and a batch
            without `secondary`.
        recordings: Index of the recording that each row was cut from, (batch,).
        secondary: Which other species sing in the row's recording, (batch, classes) bool; None: unknown.
        targets: Class probabilities, (batch, classes); None: each row has the class of its label.
    """

    embeddings: Tensor
    labels: Tensor
    recordings: Tensor
    secondary: Tensor | None = None
    targets: Tensor | None = None


def normalise(vectors: Tensor) -> Tensor:
    """Returns vectors scaled to unit length, (…, dim), in float32 or float64. A zero vector stays zero."""
    return F.normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=-1)


def draw_prototypes(classes: int, dim: int, generator: torch.Generator) -> Tensor:
    """Returns one random direction per class, (classes, dim) of unit length, on the generator's device."""
    return F.normalize(torch.randn(classes, dim, generator=generator, device=generator.device), dim=1)


def sum_by_group(rows: Tensor, groups: Tensor, count: int) -> Tensor:
    """Returns the sum of the rows of each group, (count, dim).

    Args:
        rows: (batch, dim).
        groups: Group of each row, in [0, count), (batch,).
        count: Number of groups.
    """
    return rows.new_zeros(count, rows.shape[1]).index_add(0, groups, rows)


def count_classes(labels: Tensor, classes: int) -> Tensor:
    """Returns how many rows each class has, (classes,) int64. `bincount` would make the host wait for the GPU."""
    return labels.new_zeros(classes).index_add(0, labels, torch.ones_like(labels))


def number_groups(values: Tensor) -> Tensor:
    """Returns the rank of each value among the distinct values, in [0, batch), (batch,).

    These are the inverse indices of `unique`. `unique` would make the host wait for the GPU.
    """
    ordered, order = values.sort()
    steps = (ordered[1:] != ordered[:-1]).long().cumsum(0)
    return torch.empty_like(order).scatter(0, order, torch.cat([steps.new_zeros(1), steps]))


def weigh_anchors(valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns the weight of each anchor in the mean over the valid anchors, (batch,).

    Args:
        valid: Whether an anchor has a positive, (batch,) bool. If none has, all weights are 0.
        dtype: Type of the weights.
    """
    weights = valid.to(dtype)
    return weights / weights.sum().clamp(min=1)


def exclude_itself(logits: Tensor, rows: slice) -> None:
    """Remove each anchor from its own denominator, in place.

    Args:
        logits: Logits of the anchors against all rows, and against prototypes if there are any, (anchors, batch + …).
        rows: Rows of the batch that are the anchors.
    """
    logits.diagonal(rows.start).fill_(torch.finfo(logits.dtype).min)


def exclude_linked(logits: Tensor, rows: slice, batch: ContrastBatch) -> None:
    """Remove rows that are linked by a secondary label from the anchors' denominators, in place.

    Two rows of different species are linked if the species of one sings in the recording of the other. They are not
    positives, and pushing them apart would teach that the species is absent. If the logits include class prototypes,
    the prototypes of an anchor's secondary species are removed too.

    Args:
        logits: Logits of the anchors against all rows, and against all prototypes if there are any,
            (anchors, batch (+ classes)).
        rows: Rows of the batch that are the anchors.
        batch: Labels and secondary species.
    """
    if batch.secondary is None:
        return
    lowest, others = torch.finfo(logits.dtype).min, len(batch.labels)
    logits[:, :others].masked_fill_(find_linked_labels(rows, batch.labels, batch.secondary), lowest)
    if logits.shape[1] > others:
        too = batch.secondary[rows].scatter(1, batch.labels[rows].unsqueeze(1), value=False)  # (anchors, classes)
        logits[:, others:].masked_fill_(too, lowest)


def find_linked_labels(rows: slice, labels: Tensor, secondary: Tensor) -> Tensor:
    """Returns which rows each anchor is linked to by a secondary label, (anchors, batch) bool."""
    anchors = labels[rows]
    sings = secondary[rows].gather(1, labels.expand(len(anchors), -1))  # (anchors, batch)
    return sings.logical_or_(secondary.T[anchors]).logical_and_(anchors.unsqueeze(1) != labels)
