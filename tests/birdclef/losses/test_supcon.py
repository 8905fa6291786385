"""The supervised contrastive loss against plain loops over equation 2 of Khosla et al. 2020, in float64, and against
pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytorch_metric_learning.losses import SupConLoss as OtherSupConLoss

from birdclef.losses import log_partition
from birdclef.losses.contrast import ContrastBatch
from birdclef.losses.supcon import SupConLoss

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]


def loop_over_equation(embeddings: Rows, labels: Labels, temperature: float) -> list[float]:
    """Returns L_out of each anchor with a positive; equation 2 of https://arxiv.org/abs/2004.11362."""
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
    return terms


def loop_with_pair_rules(
    embeddings: Rows, labels: Labels, recordings: Labels, secondary: NDArray[np.bool_], weight: float
) -> list[float]:
    """Returns the weighted mean over positives of each anchor with one, at temperature 0.2."""
    rows = [row / math.sqrt(float(row @ row)) for row in embeddings]
    terms = []
    for i, anchor in enumerate(rows):
        summands, weights, denominator = [], [], 0.0
        for j, other in enumerate(rows):
            linked = labels[i] != labels[j] and (secondary[i, labels[j]] or secondary[j, labels[i]])
            twin = labels[i] == labels[j] and recordings[i] == recordings[j]
            if i == j or linked or (twin and weight == 0):
                continue
            similarity = float(anchor @ other) / 0.2
            denominator += math.exp(similarity)
            if labels[i] == labels[j]:
                summands.append(similarity)
                weights.append(weight if twin else 1.0)
        if weights:
            total = sum(w * (s - math.log(denominator)) for w, s in zip(weights, summands, strict=True))
            terms.append(-total / sum(weights))
    return terms


def mean(terms: list[float]) -> float:
    return sum(terms) / len(terms) if terms else 0.0


def random_rows(rows: int, dim: int = 6, seed: int = 0, scale: float = 3.0) -> Rows:
    """Returns unnormalised embeddings, (rows, dim)."""
    return scale * np.random.default_rng(seed).normal(size=(rows, dim))


def compute(embeddings: Rows, labels: Labels, temperature: float) -> float:
    """Returns the loss of rows that are all of different recordings."""
    batch = ContrastBatch(torch.from_numpy(embeddings), torch.from_numpy(labels), torch.arange(len(labels)))
    loss: torch.Tensor = SupConLoss(temperature)(batch)
    return loss.item()


def compute_at(angles: list[float], labels: list[int], recordings: list[int], weight: float = 1.0) -> float:
    """Returns the loss at temperature 1 of rows at angles in degrees: the mean over anchors with a positive."""
    turned = np.radians(angles)
    rows = torch.from_numpy(np.stack([np.cos(turned), np.sin(turned)], axis=1))
    batch = ContrastBatch(rows, torch.tensor(labels), torch.tensor(recordings))
    loss: torch.Tensor = SupConLoss(1.0, weight)(batch)
    return loss.item()


TWO_VIEWS = np.repeat([0, 1, 2, 1, 0], 2)
WITH_ORPHANS = np.array([0, 1, 1, 5, 2, 2, 2, 9])
MIXED_ORDER = np.array([2, 0, 1, 0, 2, 1, 1, 2, 0, 0])
LABELS = {"two views": TWO_VIEWS, "orphans": WITH_ORPHANS, "any order": MIXED_ORDER, "one species": np.zeros(5, int)}


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_loss_equals_the_equation(labels: Labels, temperature: float) -> None:
    embeddings = random_rows(len(labels))
    expected = loop_over_equation(embeddings, labels, temperature)
    assert compute(embeddings, labels, temperature) == pytest.approx(mean(expected), rel=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=14),
    temperature=st.floats(0.05, 5.0),
    seed=st.integers(0, 2**16),
)
def test_loss_equals_the_equation_for_any_labels(labels: list[int], temperature: float, seed: int) -> None:
    embeddings = random_rows(len(labels), seed=seed)
    expected = mean(loop_over_equation(embeddings, np.array(labels), temperature))
    assert compute(embeddings, np.array(labels), temperature) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=80)
@given(data=st.data(), weight=st.sampled_from([0.0, 1e-3, 0.5, 1.0]), seed=st.integers(0, 2**16))
def test_pair_rules_equal_a_plain_loop_for_any_batch(data: st.DataObject, weight: float, seed: int) -> None:
    count = data.draw(st.integers(1, 12))
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    recordings = np.array(data.draw(st.lists(st.integers(3, 7), min_size=count, max_size=count)))
    secondary = np.random.default_rng(seed).random((count, 4)) < data.draw(st.sampled_from([0.0, 0.2, 0.8]))
    embeddings = random_rows(count, seed=seed)
    batch = ContrastBatch(*(torch.from_numpy(array) for array in (embeddings, labels, recordings, secondary)))
    expected = loop_with_pair_rules(embeddings, labels, recordings, secondary, weight)
    loss = SupConLoss(0.2, weight)(batch).item()
    assert loss == pytest.approx(mean(expected), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("labels", [TWO_VIEWS, MIXED_ORDER, np.arange(60) % 7], ids=["views", "order", "many"])
def test_loss_and_gradient_equal_pytorch_metric_learnings(labels: Labels, temperature: float) -> None:
    results = []
    for ours in (True, False):
        rows = torch.from_numpy(random_rows(len(labels))).requires_grad_()
        species = torch.from_numpy(labels)
        if ours:
            loss = SupConLoss(temperature, 1.0)(ContrastBatch(rows, species, torch.arange(len(labels)) // 2))
        else:
            loss = OtherSupConLoss(temperature)(rows, species)
        loss.backward()
        assert rows.grad is not None
        results.append((loss.item(), rows.grad))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-9)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-8, atol=1e-12)


def test_two_species_at_right_angles_by_hand() -> None:
    """Each anchor sees its positive at cosine 1 and two others at 0: log(e + 2) - 1."""
    assert compute_at([0, 90, 0, 90], [0, 1, 0, 1], [0, 1, 2, 3]) == pytest.approx(math.log(math.e + 2) - 1)


def test_positives_from_one_recording_weigh_half_by_hand() -> None:
    """Anchor 0: other view at cosine 1, other recording at 0; anchor 1 alike. Anchor 2: two others, both at 0.

    Denominators e + 1, e + 1 and 2, so the mean of twice log(e + 1) - 0.5 · 1 / 1.5 and log 2.
    """
    expected = (2 * (math.log(math.e + 1) - 1 / 3) + math.log(2)) / 3
    assert compute_at([0, 0, 90], [4, 4, 4], [0, 0, 1], weight=0.5) == pytest.approx(expected)


def test_weight_cancels_where_all_positives_are_from_one_recording() -> None:
    """Two views only: log(e + 1) - 1 for each of them, whatever the weight; the third row is an orphan."""
    for weight in (1e-4, 0.5, 1.0):
        expected = math.log(math.e + 1) - 1
        assert compute_at([0, 0, 90], [4, 4, 1], [0, 0, 1], weight) == pytest.approx(expected, rel=1e-9)


def test_weight_zero_takes_views_of_one_recording_out_of_the_denominator_too() -> None:
    """Rows 0 and 1 see cosine 0 (positive) and -1: log(1 + 1/e). Row 2 sees 0, 0 (positives) and 0: log 3."""
    loss = compute_at([0, 0, 90, 180], [4, 4, 4, 1], [0, 0, 1, 2], weight=0.0)
    assert loss == pytest.approx((2 * math.log(1 + 1 / math.e) + math.log(3)) / 3)


def test_weight_zero_makes_orphans_of_rows_whose_species_has_one_recording() -> None:
    assert compute_at([0, 40, 90, 180], [4, 4, 1, 1], [0, 0, 1, 1], weight=0.0) == 0.0


def test_rows_linked_by_a_secondary_label_are_ignored_by_hand() -> None:
    """Species 1 sings in the recording of row 0: its rows 2 and 3 are nothing to row 0, and row 0 nothing to them.

    Row 0 sees row 1 only: log 1. Row 1 sees rows 0, 2 and 3: cosines 1, 0, 0. Rows 2 and 3 see each other and row 1:
    cosines 1 and 0.
    """
    rows = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    secondary = torch.zeros(4, 2, dtype=torch.bool)
    secondary[0, 1] = True
    batch = ContrastBatch(rows, torch.tensor([0, 0, 1, 1]), torch.arange(4), secondary)
    expected = (math.log(math.e + 2) - 1 + 2 * (math.log(math.e + 1) - 1)) / 4
    assert SupConLoss(1.0)(batch).item() == pytest.approx(expected)


def test_a_secondary_label_that_is_the_own_species_changes_nothing() -> None:
    rows, labels = torch.from_numpy(random_rows(8)), torch.from_numpy(WITH_ORPHANS)
    own = torch.nn.functional.one_hot(labels, 10).bool()
    plain = ContrastBatch(rows, labels, torch.arange(8))
    marked = ContrastBatch(rows, labels, torch.arange(8), own)
    assert SupConLoss(0.1)(marked).item() == SupConLoss(0.1)(plain).item()


def test_names_of_species_and_recordings_do_not_matter() -> None:
    rows, labels, recordings = torch.from_numpy(random_rows(10)), torch.from_numpy(MIXED_ORDER), torch.arange(10) // 2
    one = SupConLoss(0.1)(ContrastBatch(rows, labels, recordings))
    other = SupConLoss(0.1)(ContrastBatch(rows, 1000 - labels, 7 * (10 - recordings)))
    assert other.item() == pytest.approx(one.item(), rel=1e-12)


def test_sum_is_the_mean_times_the_anchors_with_a_positive() -> None:
    embeddings = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch = ContrastBatch(embeddings, torch.tensor([0, 0, 0, 1, 1, 2]), torch.arange(6))
    mean, total = (SupConLoss(0.1, reduction=reduction)(batch) for reduction in ("mean", "sum"))
    assert total.item() == pytest.approx(5 * mean.item())
    orphans = ContrastBatch(embeddings, torch.arange(6), torch.arange(6))
    assert SupConLoss(0.1, reduction="sum")(orphans).item() == 0


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
    loss = SupConLoss(0.1)(ContrastBatch(embeddings, torch.arange(rows), torch.zeros(rows, dtype=torch.int64)))
    loss.backward()
    assert loss.item() == 0.0
    assert embeddings.grad is not None
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_gradient_equals_finite_differences(
    labels: Labels, weight: float, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_partition, "BLOCK_ROWS", 3)
    embeddings = torch.from_numpy(random_rows(len(labels), 4, scale=1.0)).requires_grad_()
    species, recordings = torch.from_numpy(labels), torch.arange(len(labels)) // 2
    secondary = torch.from_numpy(np.random.default_rng(1).random((len(labels), 10)) < 0.1)
    loss = SupConLoss(temperature, weight)
    assert torch.autograd.gradcheck(
        lambda rows: loss(ContrastBatch(rows, species, recordings, secondary)), (embeddings,)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_half_precision_embeddings_are_compared_in_float32(dtype: torch.dtype, temperature: float) -> None:
    half = torch.from_numpy(random_rows(len(WITH_ORPHANS))).to(dtype)
    loss = SupConLoss(temperature)(ContrastBatch(half, torch.from_numpy(WITH_ORPHANS), torch.arange(8)))
    expected = mean(loop_over_equation(half.double().numpy(), WITH_ORPHANS, temperature))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)
