"""What contrastive losses share: the batch they read, unit vectors, pairs that do not count, and the reduction."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class ContrastBatch:
    """The rows that a contrastive loss compares: all views of all recordings of a batch.

    Attributes:
        embeddings: (batch, dim), of any scale and float type.
        labels: Species index, (batch,); the class's place, where prototypes or `secondary` are used.
        recordings: Index of the recording that a row is a crop of, (batch,).
        secondary: Species that also sing in the row's recording, (batch, classes) bool; None: unknown.
        targets: Class probabilities, (batch, classes); None: the labels say it all.
    """

    embeddings: Tensor
    labels: Tensor
    recordings: Tensor
    secondary: Tensor | None = None
    targets: Tensor | None = None


def normalise(vectors: Tensor) -> Tensor:
    """Returns vectors of unit length, in float32 at least; both (…, dim). Zero stays zero."""
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
    """Returns how many rows each class has, (classes,) int64; unlike `bincount`, without the host waiting."""
    return labels.new_zeros(classes).index_add(0, labels, torch.ones_like(labels))


def number_groups(values: Tensor) -> Tensor:
    """Returns a number in [0, batch) for each value, (batch,): equal ones have the same, smaller ones a smaller.

    As `unique` gives, but without the host waiting to learn how many there are.
    """
    ordered, order = values.sort()
    steps = (ordered[1:] != ordered[:-1]).long().cumsum(0)
    return torch.empty_like(order).scatter(0, order, torch.cat([steps.new_zeros(1), steps]))


def weigh_anchors(valid: Tensor, reduction: Reduction, dtype: torch.dtype) -> Tensor:
    """Returns what each anchor's loss counts in the batch's, (batch,): the mean or the sum over valid anchors.

    Args:
        valid: Whether an anchor has a positive, (batch,) bool. All weights are 0 if none has.
        reduction: `mean` or `sum`.
        dtype: Of the weights.
    """
    weights = valid.to(dtype)
    return weights / weights.sum().clamp(min=1) if reduction == "mean" else weights


def exclude_itself(logits: Tensor, rows: slice) -> None:
    """Take the anchors out of their own denominators, in place.

    Args:
        logits: Of the anchors `rows` against all rows and what follows them, (anchors, batch + …).
        rows: Place of the anchors in the batch.
    """
    logits.diagonal(rows.start).fill_(torch.finfo(logits.dtype).min)


def exclude_linked(logits: Tensor, rows: slice, batch: ContrastBatch) -> None:
    """Take rows linked by a secondary label out of the anchors' denominators, in place.

    Two rows of different species are linked if the species of one sings in the recording of the other: they are no
    positives, and pushing them apart would teach that the species is not there. Where prototypes of the classes
    follow the rows, those of an anchor's secondary species go as well.

    Args:
        logits: Of the anchors `rows` against all rows and perhaps all prototypes, (anchors, batch (+ classes)).
        rows: Place of the anchors in the batch.
        batch: Labels and secondary species.
    """
    if batch.secondary is None:
        return
    lowest, others = torch.finfo(logits.dtype).min, len(batch.labels)
    logits[:, :others].masked_fill_(find_linked(rows, batch.labels, batch.secondary), lowest)
    if logits.shape[1] > others:
        too = batch.secondary[rows].scatter(1, batch.labels[rows].unsqueeze(1), value=False)  # (anchors, classes)
        logits[:, others:].masked_fill_(too, lowest)


def find_linked(rows: slice, labels: Tensor, secondary: Tensor) -> Tensor:
    """Returns which pairs of anchors `rows` and all rows are linked by a secondary label, (anchors, batch) bool."""
    anchors = labels[rows]
    sings = secondary[rows].gather(1, labels.expand(len(anchors), -1))  # (anchors, batch)
    return sings.logical_or_(secondary.T[anchors]).logical_and_(anchors.unsqueeze(1) != labels)
