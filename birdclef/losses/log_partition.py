"""Log denominators of contrastive losses over a batch, in memory that grows linearly with the rows."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_ROWS = 512
"""Largest number of anchors whose logits are in memory at a time. 4,096 anchors of 128 dimensions take 176 ms in blocks
of 512, 186 ms in blocks of 256, 181 ms in blocks of 1,024 and 215 ms in one block (float32, one core of an AMD
EPYC)."""

Adjust = Callable[[Tensor, slice], None]
"""Changes the logits of the anchors in a slice, (anchors, candidates), in place: adds biases, and sets excluded pairs
to the lowest value of the type."""


def split_rows(count: int) -> Iterator[slice]:
    """Yields the slice of each block of `count` rows."""
    for start in range(0, count, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, count))


def weigh_log_partitions(anchors: Tensor, candidates: Tensor, weights: Tensor, adjust: Adjust) -> Tensor:
    """Returns the sum over i of weights_i log sum_a exp(anchors_i · candidates_a), a scalar in nats.

    The logits exist for BLOCK_ROWS anchors at a time. The forward pass also computes and keeps the gradients, which are
    sums of weights_i (softmax_ia) times the other vector. So nothing of size anchors x candidates is stored or computed
    again. A second derivative is not available.

    Args:
        anchors: Embeddings divided by the temperature, (anchors, dim).
        candidates: Embeddings to compare with, (candidates, dim), of the same float type.
        weights: Constant weight of each anchor, (anchors,). An anchor of weight 0 may have no candidate.
        adjust: Function that changes the logits of each block.
    """
    total: Tensor = _LogPartitions.apply(anchors, candidates, weights, adjust)
    return total


class _LogPartitions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchors: Tensor, candidates: Tensor, weights: Tensor, adjust: Adjust) -> Tensor:
        total = anchors.new_zeros(())
        by_anchor, by_candidate = torch.empty_like(anchors), torch.zeros_like(candidates)
        block = anchors.new_empty(min(BLOCK_ROWS, len(anchors)), len(candidates))
        for rows in split_rows(len(anchors)):
            logits = torch.mm(anchors[rows], candidates.T, out=block[: rows.stop - rows.start])  # (rows, candidates)
            adjust(logits, rows)
            highest = logits.amax(dim=1, keepdim=True)
            exponentials = logits.sub_(highest).exp_()  # (rows, candidates)
            partition = exponentials.sum(dim=1)  # (rows,)
            total += weights[rows] @ (partition.log() + highest.squeeze(1))
            share = (weights[rows] / partition).unsqueeze(1)  # (rows, 1)
            torch.mm(exponentials, candidates, out=by_anchor[rows]).mul_(share)
            by_candidate.addmm_(exponentials.T, anchors[rows] * share)
        ctx.save_for_backward(by_anchor, by_candidate)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_anchor, by_candidate = ctx.saved_tensors
        return gradient * by_anchor, gradient * by_candidate, None, None
