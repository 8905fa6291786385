"""Expected thresholds are found by trying every one, or written out in the test."""

import math

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import f1_score, precision_recall_curve

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
    """The highest threshold with the highest F1, half way to the next lower score."""
    tried = [0.0, *np.unique(scores).tolist()]
    reached = []
    for score in tried[1:]:
        taken = scores >= score
        reached.append(2 * (taken & present).sum() / (taken.sum() + present.sum()))
    best = max(index for index, value in enumerate(reached) if value > max(reached) - 1e-12)
    return (tried[best] + tried[best + 1]) / 2


def move(own: float, common: float, recordings: int) -> float:
    """The mean of two thresholds in log-odds; the common one counts once."""
    mean = (recordings * math.log(own / (1 - own)) + math.log(common / (1 - common))) / (recordings + 1)
    return 1 / (1 + math.exp(-mean))


def test_threshold_is_the_best_one_moved_to_the_common_one(probabilities: np.ndarray, labels: np.ndarray) -> None:
    thresholds = fit_thresholds(probabilities, labels)
    common = try_all(probabilities.ravel(), np.eye(5, dtype=bool)[labels].ravel())
    for label in range(4):
        best = try_all(probabilities[:, label], labels == label)
        assert thresholds[label] == pytest.approx(move(best, common, int((labels == label).sum())))


def test_threshold_lies_half_way_to_the_next_probability() -> None:
    # 0.8 and 0.6 of species 0 are present, 0.3 is not: F1 is 2/3, 1 and 4/5. Over all pairs, 0.8, 0.7 and 0.6 are
    # present and the highest three of six, with 0.4 next.
    scores = np.array([[0.3, 0.7], [0.8, 0.2], [0.6, 0.4]])
    assert fit_thresholds(scores, np.array([1, 0, 0]))[0] == pytest.approx(move(0.45, 0.5, 2))


def test_highest_of_equally_good_thresholds_is_taken() -> None:
    # from 0.9 down hit, miss, miss, hit: F1 is 2/3 after one and after all four; over all pairs it is 6/7 after 0.9
    scores = np.array([[0.9, 0], [0.7, 0.95], [0.5, 0.95], [0.2, 0]])
    assert fit_thresholds(scores, np.array([0, 1, 1, 0]))[0] == pytest.approx(0.8)


def test_species_without_recordings_has_the_common_threshold(probabilities: np.ndarray, labels: np.ndarray) -> None:
    common = try_all(probabilities.ravel(), np.eye(5, dtype=bool)[labels].ravel())
    assert fit_thresholds(probabilities, labels)[4] == pytest.approx(common)


def test_no_threshold_is_below_a_tenth_of_the_common_one() -> None:
    labels = np.repeat([0, 1], [30, 2])
    scores = np.full((32, 2), 1e-4)
    scores[np.arange(32), labels] = 0.8
    scores[30:, 1] = 2e-6  # two recordings that the model takes for another species
    common = try_all(scores.ravel(), np.eye(2, dtype=bool)[labels].ravel())
    assert common > 0.3
    assert fit_thresholds(scores, labels)[1] == pytest.approx(common / 10)


def simulate(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, labels and folds of 60 species with one to three recordings; species differ in skill and bias."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(60), generator.integers(1, 4, 60))
    logits = generator.normal(0, 1, (len(labels), 60)) + 0.6 * generator.normal(0, 1, 60)
    logits[np.arange(len(labels)), labels] += generator.normal(3, 0.8, 60)[labels]
    return softmax(logits, axis=1), labels, generator.integers(0, 4, len(labels))


def best_by_curve(scores: np.ndarray, present: np.ndarray) -> float:
    precision, recall, thresholds = precision_recall_curve(present, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return float(thresholds[f1[:-1].argmax()])


def decide_by_the_best_alone(probabilities: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    decisions = np.zeros(probabilities.shape, bool)
    for fold in range(4):
        own = folds == fold
        temperature = fit_temperature(probabilities[~own], labels[~own])
        fitted, other = calibrate(probabilities[~own], temperature), labels[~own]
        common = best_by_curve(fitted.ravel(), np.eye(60, dtype=bool)[other].ravel())
        best = [best_by_curve(fitted[:, one], other == one) if (other == one).any() else common for one in range(60)]
        decisions[own] = calibrate(probabilities[own], temperature) >= np.array(best)
    return decisions


def test_few_recordings_gain_by_the_common_threshold() -> None:
    gains = []
    for seed in range(2):
        probabilities, labels, folds = simulate(seed)
        present = np.eye(60, dtype=bool)[labels]
        moved = cross_fit_decisions(probabilities, labels, folds)
        alone = decide_by_the_best_alone(probabilities, labels, folds)
        gains.append(
            [
                f1_score(present, moved, average=average, zero_division=0)
                - f1_score(present, alone, average=average, zero_division=0)
                for average in ("micro", "macro")
            ]
        )
    micro, macro = np.mean(gains, axis=0)
    assert micro > 0.05
    assert macro > -0.01


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


def test_one_fold_alone_leaves_nothing_to_fit_on(probabilities: np.ndarray, labels: np.ndarray) -> None:
    assert cross_fit_decisions(probabilities, labels, np.zeros(90, int)) is None
