"""Expected numbers are scikit-learn's, or counted by hand where the test says so."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from birdclef.metrics.bootstrap import Metric
from birdclef.metrics.classification import (
    Resamples,
    accuracy,
    confusion_matrix,
    macro_f1,
    macro_f1_by_thresholds,
    micro_f1,
    micro_f1_by_thresholds,
    score_species,
    score_species_by_thresholds,
    top_3_accuracy,
    top_5_accuracy,
)
from birdclef.metrics.predictions import Predictions

CLASSES = 7


def exactly(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def assert_equal(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture
def labels() -> np.ndarray:
    """80 recordings of classes 0 to 4; 5 and 6 have none."""
    return np.random.default_rng(0).integers(0, 5, 80)


@pytest.fixture
def probabilities(labels: np.ndarray) -> np.ndarray:
    odds = np.random.default_rng(1).random((len(labels), CLASSES))
    odds[np.arange(len(labels)), labels] += 0.3
    odds[:, 6] = 0  # never predicted, never true; class 5 is predicted, never true
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.fixture
def multiplicities() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 4, (6, 80)).astype(float)


def draw(multiplicities: np.ndarray) -> Resamples:
    """Returns resamples in which each recording is a group of its own."""
    return Resamples(np.arange(multiplicities.shape[1]), multiplicities.T)


def repeat(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.repeat(values, counts.astype(int), axis=0)


def test_macro_f1_is_the_mean_over_species_with_support(probabilities: np.ndarray, labels: np.ndarray) -> None:
    predicted = probabilities.argmax(axis=1)
    assert 5 in predicted
    expected = f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)
    assert macro_f1(Predictions(probabilities), labels) == exactly([expected])
    assert expected > f1_score(labels, predicted, average="macro", zero_division=0)


def test_macro_f1_by_hand() -> None:
    # truth 0 0 1 1, predicted 0 1 1 2: F1 of 0 is 2*1/(2+1), of 1 is 2*1/(2+2); 2 has no support
    predicted = np.eye(3)[[0, 1, 1, 2]]
    assert macro_f1(Predictions(predicted), np.array([0, 0, 1, 1])) == exactly([(2 / 3 + 1 / 2) / 2])


def test_species_that_is_never_predicted_right_scores_zero() -> None:
    assert macro_f1(Predictions(np.eye(2)[[1, 1, 1]]), np.array([0, 1, 1])) == exactly([(0 + 4 / 5) / 2])


def test_macro_f1_of_multiplicities_equals_repeated_rows(
    probabilities: np.ndarray, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    predicted = probabilities.argmax(axis=1)
    multiplicities[0, labels == 3] = 0  # a resample may lose a species
    expected = [
        f1_score(
            repeat(labels, counts),
            repeat(predicted, counts),
            labels=np.unique(repeat(labels, counts)),
            average="macro",
            zero_division=0,
        )
        for counts in multiplicities
    ]
    assert macro_f1(Predictions(probabilities), labels, draw(multiplicities)) == exactly(expected)


def test_macro_f1_among_some_species_counts_errors_into_all(probabilities: np.ndarray, labels: np.ndarray) -> None:
    among = np.array([True, False, False, True, False, True, False])  # 5 has no support
    expected = f1_score(labels, probabilities.argmax(axis=1), labels=[0, 3], average="macro", zero_division=0)
    assert macro_f1(Predictions(probabilities), labels, None, among) == exactly([expected])


def test_macro_f1_without_support_is_undefined(probabilities: np.ndarray, labels: np.ndarray) -> None:
    among = np.arange(CLASSES) == 6
    assert np.isnan(macro_f1(Predictions(probabilities), labels, None, among)).all()


def test_accuracy_is_the_share_of_hits(
    probabilities: np.ndarray, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    predicted = probabilities.argmax(axis=1)
    assert accuracy(Predictions(probabilities), labels) == exactly([accuracy_score(labels, predicted)])
    expected = [accuracy_score(repeat(labels, counts), repeat(predicted, counts)) for counts in multiplicities]
    assert accuracy(Predictions(probabilities), labels, draw(multiplicities)) == exactly(expected)


def test_tied_probabilities_go_to_the_first_species_in_every_metric() -> None:
    tied = np.full((3, 3), 1 / 3)
    labels = np.array([0, 1, 2])
    assert accuracy(Predictions(tied), labels) == exactly([1 / 3])
    assert confusion_matrix(Predictions(tied), labels)[:, 0].tolist() == [1, 1, 1]


def test_micro_f1_of_one_species_each_is_the_accuracy(
    probabilities: np.ndarray, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    predicted = probabilities.argmax(axis=1)
    assert micro_f1(Predictions(probabilities), labels) == exactly([f1_score(labels, predicted, average="micro")])
    expected = [
        f1_score(repeat(labels, counts), repeat(predicted, counts), average="micro") for counts in multiplicities
    ]
    assert micro_f1(Predictions(probabilities), labels, draw(multiplicities)) == exactly(expected)


@pytest.mark.parametrize(("metric", "places"), [(top_3_accuracy, 3), (top_5_accuracy, 5)])
def test_top_k_accuracy(
    metric: Metric, places: int, probabilities: np.ndarray, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    predictions, classes = Predictions(probabilities), np.arange(CLASSES)
    expected = top_k_accuracy_score(labels, probabilities, k=places, labels=classes)
    assert metric(predictions, labels) == exactly([expected])
    resampled = [
        top_k_accuracy_score(repeat(labels, counts), repeat(probabilities, counts), k=places, labels=classes)
        for counts in multiplicities
    ]
    assert metric(predictions, labels, draw(multiplicities)) == exactly(resampled)
    assert expected > accuracy(predictions, labels)[0]


def test_top_3_of_equal_probabilities_are_the_first_ones() -> None:
    tied = Predictions(np.full((5, 5), 0.2))
    assert top_3_accuracy(tied, np.arange(5)) == exactly([3 / 5])


@pytest.fixture
def decided(probabilities: np.ndarray) -> Predictions:
    return Predictions(probabilities, probabilities > np.array([0.2, 0.25, 0.22, 0.9, 0.18, 0.2, 0.3]))


def test_f1_by_thresholds_counts_every_species_said_to_be_present(
    decided: Predictions, labels: np.ndarray, multiplicities: np.ndarray
) -> None:
    truth, decisions = np.eye(CLASSES, dtype=bool)[labels], decided.decisions
    assert decisions is not None
    assert 0 in decisions.sum(axis=1)
    assert decisions.sum(axis=1).max() > 1
    options = {"average": "macro", "labels": np.unique(labels), "zero_division": 0}
    assert macro_f1_by_thresholds(decided, labels) == exactly([f1_score(truth, decisions, **options)])
    assert micro_f1_by_thresholds(decided, labels) == exactly([f1_score(truth, decisions, average="micro")])
    drawn = [(repeat(truth, counts), repeat(decisions, counts)) for counts in multiplicities]
    expected = [f1_score(own, said, **options) for own, said in drawn]
    assert macro_f1_by_thresholds(decided, labels, draw(multiplicities)) == exactly(expected)
    expected = [f1_score(own, said, average="micro") for own, said in drawn]
    assert micro_f1_by_thresholds(decided, labels, draw(multiplicities)) == exactly(expected)


def test_species_scores_by_thresholds(decided: Predictions, labels: np.ndarray) -> None:
    scores = score_species_by_thresholds(decided, labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        np.eye(CLASSES, dtype=bool)[labels], decided.decisions, zero_division=np.nan
    )
    assert_equal(scores.precision, precision)
    assert_equal(scores.recall, recall)
    assert_equal(scores.f1[support > 0], f1[support > 0])


def test_metrics_by_thresholds_need_decisions(probabilities: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"no decisions\. Fit thresholds"):
        macro_f1_by_thresholds(Predictions(probabilities), labels)


def test_recordings_of_a_group_count_alike(probabilities: np.ndarray, labels: np.ndarray) -> None:
    groups = np.arange(80) % 7
    counts = np.random.default_rng(3).integers(0, 3, (7, 4)).astype(float)
    expected = macro_f1(Predictions(probabilities), labels, draw(counts[groups].T))
    assert macro_f1(Predictions(probabilities), labels, Resamples(groups, counts)) == exactly(expected)


def test_species_scores_are_precision_recall_f1_and_support(probabilities: np.ndarray, labels: np.ndarray) -> None:
    scores = score_species(Predictions(probabilities), labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=np.arange(CLASSES), zero_division=np.nan
    )
    supported = support > 0
    assert supported.tolist() == [True] * 5 + [False] * 2
    assert scores.support.tolist() == support.tolist()
    assert scores.support.dtype == np.int64
    assert_equal(scores.precision, precision)
    assert_equal(scores.recall, recall)
    assert_equal(scores.f1[supported], f1[supported])


def test_scores_are_undefined_where_their_denominator_is_zero() -> None:
    # truth 0 1, predicted 2 1: 0 is never predicted, 2 has no support, 3 has neither
    scores = score_species(Predictions(np.eye(4)[[2, 1]]), np.array([0, 1]))
    np.testing.assert_array_equal(scores.precision, [np.nan, 1, 0, np.nan])
    np.testing.assert_array_equal(scores.recall, [0, 1, np.nan, np.nan])
    np.testing.assert_array_equal(scores.f1, [0, 1, np.nan, np.nan])


def test_confusion_matrix_has_the_truth_in_rows(probabilities: np.ndarray, labels: np.ndarray) -> None:
    expected = sklearn_confusion_matrix(labels, probabilities.argmax(axis=1), labels=np.arange(CLASSES))
    assert (expected != expected.T).any()
    np.testing.assert_array_equal(confusion_matrix(Predictions(probabilities), labels), expected)
