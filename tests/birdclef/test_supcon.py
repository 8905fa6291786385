"""The contrastive loss against a plain double loop over equation 2 of Khosla et al. 2020, in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from birdclef.supcon import supcon_loss


def loop_over_equation(embeddings: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> float:
    """Returns the mean of L_out over anchors with a positive; equation 2 of https://arxiv.org/abs/2004.11362."""
    rows = [row / math.sqrt(float(row @ row)) for row in embeddings.astype(np.float64)]
    terms = []
    for i, anchor in enumerate(rows):
        others = [a for a in range(len(rows)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        if not positives:
            continue
        denominator = sum(math.exp(float(anchor @ rows[a]) / temperature) for a in others)
        summands = [math.log(math.exp(float(anchor @ rows[p]) / temperature) / denominator) for p in positives]
        terms.append(-sum(summands) / len(positives))
    return sum(terms) / len(terms) if terms else 0.0


def random_rows(rows: int, dim: int = 6, seed: int = 0, scale: float = 3.0) -> NDArray[np.float64]:
    """Returns unnormalised embeddings, (rows, dim)."""
    return scale * np.random.default_rng(seed).normal(size=(rows, dim))


def compute(embeddings: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> float:
    return supcon_loss(torch.from_numpy(embeddings), torch.from_numpy(labels), temperature).item()


TWO_VIEWS = np.repeat([0, 1, 2, 1, 0], 2)
WITH_ORPHANS = np.array([0, 1, 1, 5, 2, 2, 2, 9])
MIXED_ORDER = np.array([2, 0, 1, 0, 2, 1, 1, 2, 0, 0])
LABELS = {"two views": TWO_VIEWS, "orphans": WITH_ORPHANS, "any order": MIXED_ORDER, "one species": np.zeros(5, int)}


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_loss_equals_the_equation(labels: NDArray[np.int64], temperature: float) -> None:
    embeddings = random_rows(len(labels))
    expected = loop_over_equation(embeddings, labels, temperature)
    assert compute(embeddings, labels, temperature) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=14),
    temperature=st.floats(0.05, 5.0),
    seed=st.integers(0, 2**16),
)
def test_loss_equals_the_equation_for_any_labels(labels: list[int], temperature: float, seed: int) -> None:
    embeddings = random_rows(len(labels), seed=seed)
    expected = loop_over_equation(embeddings, np.array(labels), temperature)
    assert compute(embeddings, np.array(labels), temperature) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_two_species_at_right_angles_by_hand() -> None:
    """Each anchor sees its positive at cosine 1 and two others at 0: log(e + 2) - 1."""
    embeddings = np.array([[2.0, 0], [0, 3], [5, 0], [0, 1]])
    expected = math.log(math.e + 2) - 1
    assert compute(embeddings, np.array([0, 1, 0, 1]), 1.0) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(len(WITH_ORPHANS))))
def test_order_of_rows_does_not_matter(order: list[int]) -> None:
    embeddings = random_rows(len(WITH_ORPHANS))
    shuffled = compute(embeddings[order], WITH_ORPHANS[order], 0.1)
    assert shuffled == pytest.approx(compute(embeddings, WITH_ORPHANS, 0.1), rel=1e-12)


def test_scale_of_a_row_does_not_matter() -> None:
    embeddings = random_rows(len(WITH_ORPHANS))
    scaled = embeddings * np.geomspace(1e-3, 1e3, len(embeddings))[:, None]
    assert compute(scaled, WITH_ORPHANS, 0.1) == pytest.approx(compute(embeddings, WITH_ORPHANS, 0.1), rel=1e-9)


def test_names_of_species_do_not_matter() -> None:
    embeddings = random_rows(len(MIXED_ORDER))
    assert compute(embeddings, 1000 - MIXED_ORDER, 0.1) == compute(embeddings, MIXED_ORDER, 0.1)


def test_anchor_without_positive_leaves_the_mean() -> None:
    """An orphan on the opposite side adds nothing to a denominator at a low temperature, nor a term of its own."""
    embeddings = np.array([[1.0, 0.1], [1, -0.1], [1, 0.2], [-1, 0]])
    pair = compute(embeddings[:3], np.array([0, 0, 0]), 0.05)
    assert compute(embeddings, np.array([0, 0, 0, 8]), 0.05) == pytest.approx(pair, abs=1e-12)


def test_orphan_still_repels_as_a_negative() -> None:
    labels = np.array([0, 0, 7])
    near, far = np.array([[1.0, 0], [1, 0], [1, 0.1]]), np.array([[1.0, 0], [1, 0], [-1, 0]])
    assert compute(near, labels, 0.5) > compute(far, labels, 0.5) + 0.5


@pytest.mark.parametrize("rows", [2, 3, 17])
@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_identical_embeddings_cost_the_log_of_the_other_rows(rows: int, temperature: float) -> None:
    embeddings = np.tile(random_rows(1), (rows, 1))
    assert compute(embeddings, np.zeros(rows, int), temperature) == pytest.approx(math.log(rows - 1), abs=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_batch_of_orphans_costs_exactly_nothing(rows: int, dtype: torch.dtype) -> None:
    embeddings = torch.from_numpy(random_rows(rows)).to(dtype).requires_grad_()
    loss = supcon_loss(embeddings, torch.arange(rows), 0.1)
    loss.backward()
    assert loss.item() == 0.0
    assert embeddings.grad is not None
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_gradient_equals_finite_differences(labels: NDArray[np.int64], temperature: float) -> None:
    embeddings = torch.from_numpy(random_rows(len(labels), 4, scale=1.0)).requires_grad_()
    species = torch.from_numpy(labels)
    assert torch.autograd.gradcheck(lambda rows: supcon_loss(rows, species, temperature), (embeddings,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_half_precision_embeddings_are_compared_in_float32(dtype: torch.dtype, temperature: float) -> None:
    half = torch.from_numpy(random_rows(len(WITH_ORPHANS))).to(dtype)
    loss = supcon_loss(half, torch.from_numpy(WITH_ORPHANS), temperature)
    expected = loop_over_equation(half.double().numpy(), WITH_ORPHANS, temperature)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_float64_embeddings_stay_in_float64() -> None:
    loss = supcon_loss(torch.from_numpy(random_rows(8)), torch.from_numpy(WITH_ORPHANS), 0.1)
    assert loss.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_autocast_changes_neither_loss_nor_gradient(dtype: torch.dtype) -> None:
    species = torch.from_numpy(WITH_ORPHANS)
    results = []
    for autocast in (False, True):
        embeddings = torch.from_numpy(random_rows(len(WITH_ORPHANS))).to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = supcon_loss(embeddings, species, 0.01)
        loss.backward()
        assert embeddings.grad is not None
        results.append((loss.detach(), embeddings.grad))
    assert results[0][0].dtype == results[1][0].dtype == torch.float32
    assert torch.isfinite(results[1][0])
    assert torch.isfinite(results[1][1]).all()
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_input_stays_as_it_was() -> None:
    embeddings = torch.from_numpy(random_rows(8)).float()
    before = embeddings.clone()
    supcon_loss(embeddings, torch.from_numpy(WITH_ORPHANS), 0.1)
    assert torch.equal(embeddings, before)
