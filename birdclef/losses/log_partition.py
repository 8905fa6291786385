"""Denominators of contrastive losses: the log of the sum of exponentials over a batch, in memory linear in its rows."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_ROWS = 512
"""Anchors whose logits are held at a time; up to this many are one block. 4,096 anchors of 128 dimensions take 176 ms
in blocks of 512, 186 in blocks of 256, 181 in blocks of 1,024 and 215 in one (float32, one core of an AMD EPYC)."""

Adjust = Callable[[Tensor, slice], None]
"""Changes the logits of some anchors, (anchors, candidates), in place: adds biases, and sets to the type's lowest value
what is to be excluded. The slice says which anchors they are."""


def split_rows(count: int) -> Iterator[slice]:
    """Yields the rows of each block of `count` rows."""
    for start in range(0, count, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, count))


def weigh_log_partitions(anchors: Tensor, candidates: Tensor, weights: Tensor, adjust: Adjust) -> Tensor:
    """Returns the sum over i of weights_i log sum_a exp(anchors_i · candidates_a), a scalar in nats.

    The logits exist for BLOCK_ROWS anchors at a time. The gradient, weights_i (softmax_ia) times the other side, is
    computed with them and kept, so that nothing of size anchors x candidates is stored or computed again. It has no
    derivative of its own.

    Args:
        anchors: Divided by the temperature, (anchors, dim).
        candidates: (candidates, dim), of the same float type.
        weights: Of the anchors, (anchors,); constant, gets no gradient. An anchor of weight 0 may have no candidate.
        adjust: Applied to the logits of each block.
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
