"""Alignment and uniformity against plain loops over their definitions."""

import math

import numpy as np
import pytest
import torch

from birdclef.training.embedding_geometry import alignment, uniformity

LABELS = [0, 1, 0, 2, 1, 0, 3]


def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(LABELS), 5)) * 7


def squared_distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sum((one / np.linalg.norm(one) - other / np.linalg.norm(other)) ** 2))


def pairs() -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(LABELS)) for j in range(len(LABELS)) if i != j]


def test_alignment_is_the_mean_squared_distance_of_positives() -> None:
    values = rows()
    expected = np.mean([squared_distance(values[i], values[j]) for i, j in pairs() if LABELS[i] == LABELS[j]])
    found = alignment(torch.from_numpy(values).float(), torch.tensor(LABELS))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_uniformity_is_the_log_of_the_mean_gaussian_potential() -> None:
    values = rows()
    expected = math.log(np.mean([math.exp(-2 * squared_distance(values[i], values[j])) for i, j in pairs()]))
    assert uniformity(torch.from_numpy(values).float()).item() == pytest.approx(expected, rel=1e-5)


def test_collapsed_embeddings_are_aligned_and_not_uniform() -> None:
    collapsed = torch.ones(6, 4)
    assert alignment(collapsed, torch.tensor([0, 0, 1, 1, 2, 2])).item() == pytest.approx(0, abs=1e-6)
    assert uniformity(collapsed).item() == pytest.approx(0, abs=1e-6)


def test_nothing_to_measure_is_nan() -> None:
    assert math.isnan(alignment(torch.ones(3, 4), torch.tensor([0, 1, 2])))
    assert math.isnan(uniformity(torch.ones(1, 4)))
