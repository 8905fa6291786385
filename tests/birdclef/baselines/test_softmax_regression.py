"""Probabilities are scikit-learn's, at a tight tolerance."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from birdclef.baselines.softmax_regression import predict_path

PENALTIES = (1e-3, 0.03, 1.0)


@pytest.mark.parametrize("features", [4, 90], ids=["fewer features than recordings", "more features than recordings"])
def test_probabilities_are_those_of_scikit_learn(features: int) -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([1, 3, 4, 7], [30, 15, 4, 1])
    mixing = generator.normal(size=(features, features)) * np.logspace(0, -2, features)  # correlated features
    centres = generator.normal(0, 1, (8, features))
    statistics = ((centres[labels] + generator.normal(0, 1, (50, features))) @ mixing).astype(np.float32)
    predicted = (generator.normal(0, 1, (20, features)) @ mixing).astype(np.float32)
    path = predict_path(statistics, labels, predicted, PENALTIES)
    assert path.shape == (3, 20, 4)
    for penalty, probabilities in zip(PENALTIES, path, strict=True):
        plain = LogisticRegression(C=penalty, class_weight="balanced", tol=1e-8, max_iter=20_000)
        expected = make_pipeline(StandardScaler(), plain).fit(statistics.astype(np.float64), labels)
        assert probabilities == pytest.approx(expected.predict_proba(predicted.astype(np.float64)), abs=5e-3)


def test_constant_features_do_not_matter() -> None:
    generator = np.random.default_rng(1)
    labels, statistics = np.arange(40) % 2, generator.normal(size=(40, 3))
    with_constant = np.column_stack([statistics, np.full(40, -7.0)])
    plain = predict_path(statistics, labels, statistics, PENALTIES)
    assert predict_path(with_constant, labels, with_constant, PENALTIES) == pytest.approx(plain, abs=1e-6)


def test_one_species_has_all_probability() -> None:
    assert predict_path(np.eye(3), np.full(3, 5), np.ones((2, 3)), [1.0]).tolist() == [[[1.0], [1.0]]]
