"""Expected thresholds are found by trying every one, or written out in the test."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from birdclef.metrics.calibration import calibrate, fit_temperature
from birdclef.metrics.thresholds import cross_fit_decisions, fit_thresholds


@pytest.fixture
def labels() -> np.ndarray:
    """90 recordings of classes 0 to 3; 4 has none."""
    return np.random.default_rng(0).integers(0, 4, 90)


@pytest.fixture(params=["distinct scores", "tied scores"])
def probabilities(request: pytest.FixtureRequest, labels: np.ndarray) -> np.ndarray:
    odds = np.random.default_rng(1).random((90, 5))
    odds[np.arange(90), labels] += 0.5
    scores = odds / odds.sum(axis=1, keepdims=True)
    return np.round(scores, 1) if request.param == "tied scores" else scores


def try_all(scores: np.ndarray, present: np.ndarray) -> float:
    return max(f1_score(present, scores >= threshold, zero_division=0) for threshold in np.unique(scores))


def test_threshold_gives_the_highest_f1(probabilities: np.ndarray, labels: np.ndarray) -> None:
    thresholds = fit_thresholds(probabilities, labels)
    for label in range(4):
        scores, present = probabilities[:, label], labels == label
        assert f1_score(present, scores >= thresholds[label]) == pytest.approx(try_all(scores, present))
        assert thresholds[label] not in scores


def test_threshold_lies_half_way_to_the_next_probability() -> None:
    # 0.8 and 0.6 are present, 0.3 is not: F1 is 2/3, 1 and 4/5
    scores = np.array([[0.3, 0.7], [0.8, 0.2], [0.6, 0.4]])
    assert fit_thresholds(scores, np.array([1, 0, 0]))[0] == pytest.approx(0.45)


def test_highest_of_equally_good_thresholds_is_taken() -> None:
    # from 0.9 down hit, miss, miss, hit: F1 is 2/3 after one and after all four
    scores = np.array([[0.9, 0], [0.7, 0], [0.5, 0], [0.2, 0]])
    assert fit_thresholds(scores, np.array([0, 1, 1, 0]))[0] == pytest.approx(0.8)


def test_species_without_recordings_has_the_common_threshold(probabilities: np.ndarray, labels: np.ndarray) -> None:
    threshold = fit_thresholds(probabilities, labels)[4]
    present = np.eye(5, dtype=bool)[labels]
    reached = f1_score(present.ravel(), (probabilities >= threshold).ravel())
    assert reached == pytest.approx(try_all(probabilities.ravel(), present.ravel()))


def test_decisions_of_a_fold_come_from_the_other_folds(probabilities: np.ndarray, labels: np.ndarray) -> None:
    folds = np.arange(90) % 3
    decisions = cross_fit_decisions(probabilities, labels, folds)
    for fold in range(3):
        own = folds == fold
        temperature = fit_temperature(probabilities[~own], labels[~own])
        thresholds = fit_thresholds(calibrate(probabilities[~own], temperature), labels[~own])
        assert (decisions[own] == (calibrate(probabilities[own], temperature) >= thresholds)).all()
    changed = labels.copy()
    changed[folds == 1] = 3 - changed[folds == 1]
    other = cross_fit_decisions(probabilities, changed, folds)
    assert (other[folds == 1] == decisions[folds == 1]).all()  # its own labels have no say
    assert (other[folds != 1] != decisions[folds != 1]).any()


def test_one_fold_alone_is_decided_at_one_half(probabilities: np.ndarray, labels: np.ndarray) -> None:
    decisions = cross_fit_decisions(probabilities, labels, np.zeros(90, int))
    assert (decisions == (probabilities >= 0.5)).all()
