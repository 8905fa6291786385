"""Weighted log partitions against a plain loop."""

import math

import pytest
import torch
from torch import Tensor

from birdclef.losses import log_partition
from birdclef.losses.log_partition import split_rows, weigh_log_partitions


def draw(rows: int, dim: int, seed: int) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop_over_anchors(anchors: Tensor, candidates: Tensor, weights: Tensor) -> float:
    total = 0.0
    for anchor, weight in zip(anchors, weights, strict=True):
        total += float(weight) * math.log(sum(math.exp(float(anchor @ candidate)) for candidate in candidates))
    return total


def keep(logits: Tensor, rows: slice) -> None:
    """Change nothing."""


def hide_next(logits: Tensor, rows: slice) -> None:
    logits.diagonal(rows.start + 1)[: logits.shape[0]].fill_(torch.finfo(logits.dtype).min)


@pytest.mark.parametrize("block_rows", [1, 3, 7, 512])
def test_sum_equals_a_loop_over_anchors(block_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_partition, "BLOCK_ROWS", block_rows)
    anchors, candidates, weights = draw(7, 4, 0), draw(9, 4, 1), draw(7, 1, 2).squeeze(1)
    expected = loop_over_anchors(anchors, candidates, weights)
    assert weigh_log_partitions(anchors, candidates, weights, keep).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("block_rows", [2, 512])
def test_gradient_equals_finite_differences(block_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_partition, "BLOCK_ROWS", block_rows)
    anchors, candidates = draw(5, 3, 0).requires_grad_(), draw(6, 3, 1).requires_grad_()
    weights = draw(5, 1, 2).squeeze(1)
    assert torch.autograd.gradcheck(
        lambda one, other: weigh_log_partitions(one, other, weights, hide_next), (anchors, candidates)
    )


def test_adjustment_knows_the_place_of_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchor i must not see candidate i + 1: the loop over the others."""
    monkeypatch.setattr(log_partition, "BLOCK_ROWS", 2)
    anchors, candidates = draw(5, 3, 0), draw(6, 3, 1)
    expected = sum(
        loop_over_anchors(anchors[i : i + 1], candidates[[a for a in range(6) if a != i + 1]], torch.ones(1))
        for i in range(5)
    )
    total = weigh_log_partitions(anchors, candidates, torch.ones(5, dtype=torch.float64), hide_next)
    assert total.item() == pytest.approx(expected, rel=1e-12)


def test_large_logits_do_not_overflow() -> None:
    """Two equal logits of 1,000: their log partition is 1,000 + log 2."""
    anchors, candidates = torch.tensor([[1000.0]]), torch.tensor([[1.0], [1.0]])
    total = weigh_log_partitions(anchors, candidates, torch.ones(1), keep)
    assert total.item() == pytest.approx(1000 + math.log(2), rel=1e-6)


def test_anchor_of_weight_zero_may_see_nothing() -> None:
    def hide_all_of_the_first(logits: Tensor, rows: slice) -> None:
        logits[0] = torch.finfo(logits.dtype).min

    anchors, candidates = draw(2, 3, 0).float().requires_grad_(), draw(4, 3, 1).float().requires_grad_()
    weigh_log_partitions(anchors, candidates, torch.tensor([0.0, 1.0]), hide_all_of_the_first).backward()
    assert anchors.grad is not None
    assert torch.equal(anchors.grad[0], torch.zeros(3))
    assert torch.isfinite(anchors.grad).all()
    assert candidates.grad is not None
    assert torch.isfinite(candidates.grad).all()


@pytest.mark.parametrize(("count", "expected"), [(0, []), (2, [(0, 2)]), (5, [(0, 2), (2, 4), (4, 5)])])
def test_blocks_cover_all_rows_once(
    count: int, expected: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_partition, "BLOCK_ROWS", 2)
    assert [(rows.start, rows.stop) for rows in split_rows(count)] == expected
