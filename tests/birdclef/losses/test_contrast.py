"""What the contrastive losses share, by hand, and what holds for every one of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from birdclef.losses import log_partition
from birdclef.losses.balanced_contrast import BalancedContrastLoss
from birdclef.losses.contrast import (
    ContrastBatch,
    count_classes,
    draw_prototypes,
    exclude_itself,
    exclude_linked,
    normalise,
    number_groups,
    sum_by_group,
    weigh_anchors,
)
from birdclef.losses.parametric_contrast import ParametricContrastLoss
from birdclef.losses.prototype_contrast import PrototypeContrastLoss
from birdclef.losses.soft_contrast import SoftContrastLoss
from birdclef.losses.supcon import SupConLoss

CLASSES, DIM = 6, 8


def build_prototypes() -> Tensor:
    return draw_prototypes(CLASSES, DIM, torch.Generator().manual_seed(5))


def build_parametric(temperature: float) -> nn.Module:
    log_prior = torch.tensor([0.4, 0.3, 0.1, 0.1, 0.05, 0.05]).log()
    return ParametricContrastLoss(build_prototypes(), log_prior, temperature)


LOSSES: dict[str, Callable[[float], nn.Module]] = {
    "supcon": lambda temperature: SupConLoss(temperature, 0.5),
    "supcon without same recording": lambda temperature: SupConLoss(temperature, 0.0),
    "balanced": lambda temperature: BalancedContrastLoss(build_prototypes(), temperature),
    "prototype": lambda temperature: PrototypeContrastLoss(CLASSES, temperature),
    "parametric": build_parametric,
    "soft": SoftContrastLoss,
}
every_loss = pytest.mark.parametrize("build", LOSSES.values(), ids=LOSSES)


def draw_batch(rows: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> ContrastBatch:
    """Returns rows with orphans, several crops of a recording, secondary species and mixed labels."""
    generator = torch.Generator().manual_seed(seed)
    recordings = torch.randint(max(rows // 2, 1), (rows,), generator=generator)
    labels = (recordings * 7 + recordings // 3) % CLASSES
    secondary = torch.rand(rows, CLASSES, generator=generator) < 0.1
    hard = nn.functional.one_hot(labels, CLASSES).double()
    share = torch.rand(rows, 1, generator=generator, dtype=torch.float64)
    targets = share * hard + (1 - share) * hard[torch.randperm(rows, generator=generator)]
    embeddings = 3 * torch.randn(rows, DIM, generator=generator, dtype=torch.float64)
    return ContrastBatch(embeddings.to(dtype), labels, recordings, secondary, targets)


def take(batch: ContrastBatch, rows: Tensor) -> ContrastBatch:
    assert batch.secondary is not None
    assert batch.targets is not None
    return ContrastBatch(
        batch.embeddings[rows], batch.labels[rows], batch.recordings[rows], batch.secondary[rows], batch.targets[rows]
    )


def differentiate(loss: nn.Module, batch: ContrastBatch, *, autocast: bool = False) -> tuple[Tensor, list[Tensor]]:
    """Returns the loss and its gradient with respect to the embeddings and the loss's own parameters."""
    embeddings = batch.embeddings.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = loss(replace(batch, embeddings=embeddings))
    return value.detach(), list(torch.autograd.grad(value, [embeddings, *loss.parameters()]))


@every_loss
@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(12)))
def test_order_of_rows_does_not_matter(build: Callable[[float], nn.Module], order: list[int]) -> None:
    loss, batch = build(0.1), draw_batch(12)
    assert loss(take(batch, torch.tensor(order))).item() == pytest.approx(loss(batch).item(), rel=1e-12)


@every_loss
def test_scale_of_a_row_does_not_matter(build: Callable[[float], nn.Module]) -> None:
    loss, batch = build(0.1), draw_batch(12)
    scaled = batch.embeddings * torch.logspace(-3, 3, 12, dtype=torch.float64).unsqueeze(1)
    assert loss(replace(batch, embeddings=scaled)).item() == pytest.approx(loss(batch).item(), rel=1e-9)


@every_loss
def test_gradient_equals_finite_differences(
    build: Callable[[float], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_partition, "BLOCK_ROWS", 4)
    loss, batch = build(0.3).double(), draw_batch(9)
    names = [name for name, _ in loss.named_parameters()]

    def compute(embeddings: Tensor, *parameters: Tensor) -> Tensor:
        given_parameters = dict(zip(names, parameters, strict=True))
        value: Tensor = torch.func.functional_call(
            loss, given_parameters, (replace(batch, embeddings=embeddings),), strict=False
        )
        return value

    inputs = [batch.embeddings / 3, *(parameter.detach() for parameter in loss.parameters())]
    assert torch.autograd.gradcheck(compute, [tensor.clone().requires_grad_() for tensor in inputs])


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_blocks_give_the_numbers_of_one_block(
    build: Callable[[float], nn.Module], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, batch = build(0.1), draw_batch(150, dtype=dtype)
    whole, whole_gradients = differentiate(loss, batch)
    for block_rows in (1, 37, 149):
        monkeypatch.setattr(log_partition, "BLOCK_ROWS", block_rows)
        value, gradients = differentiate(loss, batch)
        assert value.item() == pytest.approx(whole.item(), rel=1e-6)
        for gradient, expected in zip(gradients, whole_gradients, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_large_batches_in_half_precision_stay_finite(build: Callable[[float], nn.Module], dtype: torch.dtype) -> None:
    loss, batch = build(0.05), draw_batch(4096, dtype=dtype)
    value, gradients = differentiate(loss, batch)
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert gradients[0].dtype == dtype
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert gradients[0].abs().max() > 0


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_autocast_changes_neither_loss_nor_gradient(build: Callable[[float], nn.Module], dtype: torch.dtype) -> None:
    loss, batch = build(0.05), draw_batch(20, dtype=dtype)
    plain, plain_gradients = differentiate(loss, batch)
    value, gradients = differentiate(loss, batch, autocast=True)
    assert value.dtype == torch.float32
    assert torch.equal(value, plain)
    assert all(torch.equal(one, other) for one, other in zip(gradients, plain_gradients, strict=True))


class LargestResult(TorchDispatchMode):
    """Sees the number of elements of each operation's result."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@every_loss
def test_no_more_pairs_than_those_of_a_block_exist_at_a_time(
    build: Callable[[float], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_partition, "BLOCK_ROWS", 16)
    with LargestResult() as largest:
        differentiate(build(0.1), draw_batch(256))
    assert largest.elements <= 16 * (256 + CLASSES)


@every_loss
def test_inputs_stay_as_they_were(build: Callable[[float], nn.Module]) -> None:
    loss, batch, untouched = build(0.1), draw_batch(12), draw_batch(12)
    differentiate(loss, batch)
    for name in ("embeddings", "labels", "recordings", "secondary", "targets"):
        assert torch.equal(getattr(batch, name), getattr(untouched, name))


@every_loss
def test_loss_without_gradient_is_the_same(build: Callable[[float], nn.Module]) -> None:
    loss, batch = build(0.1), draw_batch(12)
    expected, _ = differentiate(loss, batch)
    with torch.no_grad():
        assert loss(batch).item() == expected.item()


@every_loss
def test_zero_embeddings_have_a_finite_loss_and_gradient(build: Callable[[float], nn.Module]) -> None:
    batch = draw_batch(12, dtype=torch.float32)
    value, gradients = differentiate(build(0.1), replace(batch, embeddings=torch.zeros(12, DIM)))
    assert torch.isfinite(value)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_unit_vectors_of_half_precision_are_float32() -> None:
    unit = normalise(torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float16))
    assert unit.dtype == torch.float32
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_prototypes_have_unit_length_and_follow_the_generator() -> None:
    one, same, other = (draw_prototypes(5, 3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(one.norm(dim=1), torch.ones(5))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@given(values=st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_groups_are_numbered_as_unique_does(values: list[int]) -> None:
    numbers = number_groups(torch.tensor(values))
    assert numbers.tolist() == np.unique(values, return_inverse=True)[1].tolist()
    assert count_classes(numbers, 12).tolist() == np.bincount(numbers.numpy(), minlength=12).tolist()


def test_sums_by_group_by_hand() -> None:
    rows = torch.tensor([[1.0, 2], [10, 20], [100, 200]])
    sums = sum_by_group(rows, torch.tensor([2, 0, 2]), 4)
    assert sums.tolist() == [[10, 20], [0, 0], [101, 202], [0, 0]]


@pytest.mark.parametrize(
    ("valid", "expected"), [([True, False, True], [0.5, 0, 0.5]), ([True], [1]), ([False, False], [0, 0])]
)
def test_only_valid_anchors_have_weight(valid: list[bool], expected: list[float]) -> None:
    weights = weigh_anchors(torch.tensor(valid), torch.float64)
    assert weights.dtype == torch.float64
    assert weights.tolist() == expected


def test_anchors_of_a_block_do_not_see_themselves() -> None:
    logits = torch.zeros(2, 5)
    exclude_itself(logits, slice(2, 4))
    assert logits.isfinite().all()
    assert (logits < 0).nonzero().tolist() == [[0, 2], [1, 3]]


def test_linked_rows_and_prototypes_by_hand() -> None:
    """Species 1 sings in row 0, species 0 in row 2, and row 3 names its own species only."""
    secondary = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.bool)
    labels = torch.tensor([0, 1, 2, 2])
    batch = ContrastBatch(torch.zeros(4, 2), labels, torch.arange(4), secondary)
    for rows in (slice(0, 4), slice(1, 3)):
        logits = torch.zeros(rows.stop - rows.start, 4 + 3)
        exclude_linked(logits, rows, batch)
        linked = {(0, 1), (1, 0), (0, 2), (2, 0), (0, 4 + 1), (2, 4 + 0)}
        expected = sorted([i - rows.start, j] for i, j in linked if rows.start <= i < rows.stop)
        assert sorted((logits < 0).nonzero().tolist()) == expected


def test_unknown_secondary_species_link_nothing() -> None:
    logits = torch.zeros(3, 3)
    exclude_linked(logits, slice(0, 3), ContrastBatch(torch.zeros(3, 2), torch.arange(3), torch.arange(3)))
    assert torch.equal(logits, torch.zeros(3, 3))
