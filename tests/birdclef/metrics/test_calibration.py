"""Expected numbers are scikit-learn's, SciPy's, or a plain loop's over the definition."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from birdclef.metrics.calibration import (
    BINS,
    calibrate,
    cross_fit_calibration,
    describe_calibration,
    expected_calibration_error,
    find_edge,
    fit_temperature,
    negative_log_likelihood,
    sort_by_confidence,
)
from birdclef.metrics.classification import Resamples
from birdclef.metrics.predictions import Predictions

RECORDINGS, CLASSES = 3000, 6


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (RECORDINGS, CLASSES))


@pytest.fixture(scope="module")
def labels(logits: np.ndarray) -> np.ndarray:
    """Drawn from softmax(logits), so that these probabilities are calibrated by construction."""
    drawn = logits + np.random.default_rng(1).gumbel(size=logits.shape)
    return drawn.argmax(axis=1)


def debiased_error(probabilities: np.ndarray, labels: np.ndarray, draws: int = 0) -> float:
    """Returns the estimator of Kumar et al. by simulated accuracies; the plain error without draws."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    generator = np.random.default_rng(0)
    plain, simulated = 0.0, np.zeros(max(draws, 1))
    for index in range(BINS):
        inside = (confidence > index / BINS) & (confidence <= (index + 1) / BINS)
        if inside.any():
            share, accuracy, mean = inside.sum() / len(labels), correct[inside].mean(), confidence[inside].mean()
            plain += share * abs(accuracy - mean)
            deviation = np.sqrt(accuracy * (1 - accuracy) / inside.sum())
            simulated += share * np.abs(generator.normal(accuracy, deviation, max(draws, 1)) - mean)
    return max(2 * plain - simulated.mean(), 0) if draws else plain


def test_error_is_the_debiased_estimator(logits: np.ndarray, labels: np.ndarray) -> None:
    sharp = softmax(3 * logits, axis=1)
    error = expected_calibration_error(Predictions(sharp), labels)
    assert error == pytest.approx([debiased_error(sharp, labels, 20_000)], abs=1e-4)
    assert error[0] > 0.1
    few = expected_calibration_error(Predictions(sharp[:60]), labels[:60])
    assert few == pytest.approx([debiased_error(sharp[:60], labels[:60], 20_000)], abs=1e-3)
    assert few[0] < debiased_error(sharp[:60], labels[:60]) - 0.005


def test_error_of_few_recordings_is_no_higher_than_that_of_many(logits: np.ndarray, labels: np.ndarray) -> None:
    sharp = softmax(1.6 * logits, axis=1)
    many = debiased_error(sharp, labels)  # 3000 recordings: nearly without bias
    parts = [slice(first, first + 100) for first in range(0, RECORDINGS, 100)]
    plain = np.mean([debiased_error(sharp[part], labels[part]) for part in parts])
    debiased = np.mean([expected_calibration_error(Predictions(sharp[part]), labels[part])[0] for part in parts])
    assert plain - many > 0.02
    assert abs(debiased - many) < 0.4 * (plain - many)


def test_error_of_resamples_equals_repeated_rows(logits: np.ndarray, labels: np.ndarray) -> None:
    groups = np.arange(RECORDINGS) % 11
    counts = np.random.default_rng(2).integers(0, 3, (11, 5)).astype(float)
    sharp = Predictions(softmax(3 * logits, axis=1))
    errors = expected_calibration_error(sharp, labels, Resamples(groups, counts))
    repeats = [np.repeat(np.arange(RECORDINGS), drawn[groups].astype(int)) for drawn in counts.T]
    assert errors == pytest.approx(
        [expected_calibration_error(Predictions(sharp.probabilities[own]), labels[own])[0] for own in repeats]
    )


def test_reliability_is_scikit_learns_curve(logits: np.ndarray, labels: np.ndarray) -> None:
    probabilities = softmax(logits, axis=1)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    accuracy, mean = calibration_curve(correct, confidence, n_bins=BINS)
    reliability = sort_by_confidence(Predictions(probabilities), labels)
    filled = reliability.recordings > 0
    assert reliability.recordings.sum() == RECORDINGS
    assert not filled[:2].any()  # the most probable of six has 1/6 at least
    assert reliability.accuracy[filled] == pytest.approx(accuracy)
    assert reliability.confidence[filled] == pytest.approx(mean)


def test_certainty_falls_into_the_last_bin() -> None:
    reliability = sort_by_confidence(Predictions(np.eye(2)), np.array([0, 0]))
    assert reliability.recordings.tolist() == [0] * (BINS - 1) + [2]
    assert reliability.accuracy[-1] == 0.5


def test_likelihood_is_scikit_learns(logits: np.ndarray, labels: np.ndarray) -> None:
    probabilities = softmax(logits, axis=1)
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(log_loss(labels, probabilities))


@pytest.mark.parametrize("sharpening", [0.5, 1.0, 4.0])
def test_temperature_undoes_what_sharpened_the_logits(
    logits: np.ndarray, labels: np.ndarray, sharpening: float
) -> None:
    distorted = softmax(sharpening * logits, axis=1)
    temperature = fit_temperature(distorted, labels)
    assert temperature == pytest.approx(sharpening, rel=0.06)  # 3000 draws
    assert expected_calibration_error(Predictions(calibrate(distorted, temperature)), labels)[0] < 0.03


def test_temperature_has_the_highest_likelihood(logits: np.ndarray, labels: np.ndarray) -> None:
    distorted = softmax(2.5 * logits, axis=1)
    best = fit_temperature(distorted, labels)
    reached = log_loss(labels, calibrate(distorted, best))
    for other in (0.9 * best, 0.99 * best, 1.01 * best, 1.1 * best):
        assert log_loss(labels, calibrate(distorted, other)) > reached


def test_calibration_keeps_the_order_of_the_species(logits: np.ndarray) -> None:
    probabilities = softmax(logits, axis=1)
    calibrated = calibrate(probabilities, 3.0)
    np.testing.assert_allclose(calibrated, softmax(logits / 3, axis=1))
    assert (calibrated.argsort(axis=1) == probabilities.argsort(axis=1)).all()


def test_probability_zero_is_no_error() -> None:
    calibrated = calibrate(np.array([[1.0, 0.0]]), 2.0)
    assert np.isfinite(calibrated).all()
    assert np.isfinite(fit_temperature(np.eye(2), np.array([0, 0])))


def test_temperature_of_a_fold_comes_from_the_other_folds(logits: np.ndarray, labels: np.ndarray) -> None:
    folds = np.arange(RECORDINGS) % 3
    sharpening = np.array([1.0, 2.0, 4.0])[folds]
    distorted = softmax(logits * sharpening[:, None], axis=1)
    calibrated, temperatures = cross_fit_calibration(distorted, labels, folds)
    for fold in range(3):
        own = folds == fold
        assert temperatures[fold] == pytest.approx(fit_temperature(distorted[~own], labels[~own]))
        np.testing.assert_allclose(calibrated[own], calibrate(distorted[own], temperatures[fold]))
    assert temperatures[0] > temperatures[2]


def test_one_fold_alone_stays_as_it_is(logits: np.ndarray, labels: np.ndarray) -> None:
    probabilities = softmax(logits, axis=1)
    calibrated, temperatures = cross_fit_calibration(probabilities, labels, np.zeros(RECORDINGS, int))
    assert temperatures == {0: None}
    np.testing.assert_allclose(calibrated, probabilities)


def test_temperature_beyond_the_search_is_told_from_one_inside(logits: np.ndarray, labels: np.ndarray) -> None:
    says_nothing = softmax(np.where(np.eye(logits.shape[1], dtype=bool)[labels], -1.0, 0.0), axis=1)  # always wrong
    assert find_edge(fit_temperature(says_nothing, labels)) == "highest"
    knows_all = softmax(np.where(np.eye(logits.shape[1], dtype=bool)[labels], 1.0, 0.0), axis=1)  # always right
    assert find_edge(fit_temperature(knows_all, labels)) == "lowest"
    assert find_edge(1.0) is None


def test_description_holds_the_filled_bins(logits: np.ndarray, labels: np.ndarray) -> None:
    probabilities = softmax(logits, axis=1)
    described = describe_calibration(probabilities, labels)
    assert described["expected_calibration_error"] == pytest.approx(
        debiased_error(probabilities, labels, 20_000), abs=1e-4
    )
    assert described["negative_log_likelihood"] == pytest.approx(log_loss(labels, probabilities))
    assert sum(one["recordings"] for one in described["bins"]) == RECORDINGS
    assert all(0 <= one["accuracy"] <= 1 for one in described["bins"])
