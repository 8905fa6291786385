"""A plain loop over models and views."""

import numpy as np
import pytest

from birdclef.scores.member_probabilities import average_probabilities


def test_models_count_alike_and_views_by_their_weights() -> None:
    models = np.random.default_rng(0).dirichlet(np.ones(3), (4, 2, 5))  # (models, views, rows, classes)
    expected = np.zeros((5, 3))
    for model in models:
        for view, weight in zip(model, (1.0, 3.0), strict=True):
            expected += weight * view / (4 * 4)
    found = average_probabilities(list(models.astype(np.float32)), [1.0, 3.0])
    assert found == pytest.approx(expected, abs=1e-6)
    assert found.sum(axis=1) == pytest.approx(np.ones(5))
