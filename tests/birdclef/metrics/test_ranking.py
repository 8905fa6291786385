"""Expected numbers are scikit-learn's on repeated and padded rows, or counted by hand where the test says so."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from birdclef.metrics.classification import Resamples
from birdclef.metrics.predictions import Predictions
from birdclef.metrics.ranking import average_precision, macro_roc_auc, padded_cmap, roc_auc

CLASSES = 5


def exactly(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def assert_equal(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture
def labels() -> np.ndarray:
    """60 recordings of classes 0 to 3; 4 has none."""
    return np.random.default_rng(0).integers(0, 4, 60)


@pytest.fixture(params=["distinct scores", "tied scores"])
def probabilities(request: pytest.FixtureRequest, labels: np.ndarray) -> np.ndarray:
    odds = np.random.default_rng(1).random((len(labels), CLASSES))
    odds[np.arange(len(labels)), labels] += 0.4
    scores = odds / odds.sum(axis=1, keepdims=True)
    return np.round(scores, 1) if request.param == "tied scores" else scores


@pytest.fixture
def multiplicities() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 4, (5, 60)).astype(float)


def draw(multiplicities: np.ndarray) -> Resamples:
    """Returns resamples in which each recording is a group of its own."""
    return Resamples(np.arange(multiplicities.shape[1]), multiplicities.T)


def repeat(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.repeat(values, counts.astype(int), axis=0)


def score_padded(truth: np.ndarray, scores: np.ndarray) -> float:
    """The competition's metric: five rows of ones below truth and predictions, then macro average precision."""
    padding = np.ones((5, CLASSES))
    return average_precision_score(np.vstack([truth, padding]), np.vstack([scores, padding]), average="macro")


def test_roc_auc_of_each_species(probabilities: np.ndarray, labels: np.ndarray) -> None:
    areas = roc_auc(Predictions(probabilities), labels)
    expected = [roc_auc_score(labels == label, probabilities[:, label]) for label in range(4)]
    assert areas.shape == (CLASSES, 1)
    assert areas[:4, 0] == exactly(expected)


def test_roc_auc_of_multiplicities_equals_repeated_rows(
    probabilities: np.ndarray, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    expected = [
        [roc_auc_score(repeat(labels == label, counts), repeat(probabilities[:, label], counts)) for label in range(4)]
        for counts in multiplicities
    ]
    assert_equal(roc_auc(Predictions(probabilities), labels, draw(multiplicities))[:4].T, expected)


def test_roc_auc_is_undefined_without_positives_or_negatives() -> None:
    probabilities, labels = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0])
    assert np.isnan(roc_auc(Predictions(probabilities), labels)).all()  # 0 has no negatives, 1 has no positives
    lost = np.array([[1.0, 0.0]])
    assert np.isnan(roc_auc(Predictions(probabilities), np.array([0, 1]), draw(lost))).all()


def test_tie_counts_half_in_roc_auc() -> None:
    # positive 0.5 against negatives 0.5 and 0.1: (1/2 + 1) / 2
    areas = roc_auc(Predictions(np.array([[0.5], [0.5], [0.1]]) * [[1, 0]]), np.array([0, 1, 1]))
    assert areas[0, 0] == exactly(0.75)


def test_macro_roc_auc_is_the_mean_over_species_that_have_it(
    probabilities: np.ndarray, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    multiplicities[0, labels == 2] = 0  # a resample may lose a species
    expected = []
    for counts in multiplicities:
        truth, scores = repeat(labels, counts), repeat(probabilities, counts)
        expected.append(np.mean([roc_auc_score(truth == label, scores[:, label]) for label in np.unique(truth)]))
    assert macro_roc_auc(Predictions(probabilities), labels, draw(multiplicities)) == exactly(expected)
    whole = [roc_auc_score(labels == label, probabilities[:, label]) for label in range(4)]
    assert macro_roc_auc(Predictions(probabilities), labels) == exactly([np.mean(whole)])


def test_average_precision_of_each_species(probabilities: np.ndarray, labels: np.ndarray) -> None:
    precisions = average_precision(Predictions(probabilities), labels)
    expected = [average_precision_score(labels == label, probabilities[:, label]) for label in range(4)]
    assert precisions.shape == (CLASSES, 1)
    assert precisions[:4, 0] == exactly(expected)


def test_average_precision_of_multiplicities_equals_repeated_rows(
    probabilities: np.ndarray, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    expected = [
        [
            average_precision_score(repeat(labels == label, counts), repeat(probabilities[:, label], counts))
            for label in range(4)
        ]
        for counts in multiplicities
    ]
    assert_equal(average_precision(Predictions(probabilities), labels, draw(multiplicities))[:4].T, expected)


def test_average_precision_is_undefined_without_positives(probabilities: np.ndarray, labels: np.ndarray) -> None:
    assert np.isnan(average_precision(Predictions(probabilities), labels)[4, 0])
    lost = (labels != 1).astype(float)[None]
    undefined = np.isnan(average_precision(Predictions(probabilities), labels, draw(lost))[:, 0])
    assert undefined.tolist() == [False, True, False, False, True]


def test_average_precision_by_hand() -> None:
    # ranked: hit, miss, hit: 1/2 * 1/1 + 1/2 * 2/3
    scores = np.array([[0.9, 0], [0.6, 0], [0.3, 0]])
    assert average_precision(Predictions(scores), np.array([0, 1, 0]))[0, 0] == exactly(0.5 + 1 / 3)


def test_padded_cmap_is_the_competitions_metric(
    probabilities: np.ndarray, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    truth = np.eye(CLASSES)[labels]
    assert padded_cmap(Predictions(probabilities), labels) == exactly([score_padded(truth, probabilities)])
    expected = [score_padded(repeat(truth, counts), repeat(probabilities, counts)) for counts in multiplicities]
    assert padded_cmap(Predictions(probabilities), labels, draw(multiplicities)) == exactly(expected)


def test_certain_prediction_ties_with_the_padding(labels: np.ndarray) -> None:
    wrong = np.eye(CLASSES, dtype=np.float32)[(labels + 1) % CLASSES]  # score 1 for a wrong species
    assert padded_cmap(Predictions(wrong), labels) == exactly([score_padded(np.eye(CLASSES)[labels], wrong)])
    assert padded_cmap(Predictions(wrong), labels)[0] < 0.5


def test_species_without_recordings_scores_one_in_padded_cmap() -> None:
    scores = np.array([[0.9, 0.3, 0.1], [0.8, 0.2, 0.3]])
    with_third, without_third = (
        padded_cmap(Predictions(scores), np.array([0, 1])),
        padded_cmap(Predictions(scores[:, :2]), np.array([0, 1])),
    )
    assert 3 * with_third[0] == exactly(2 * without_third[0] + 1)
