"""Expected numbers are scikit-learn's on rows without the ignored pairs, plain loops, or worked out in the test."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from birdclef.metrics.bootstrap import Metric, estimate, resample_groups
from birdclef.metrics.calibration import describe_calibration, fit_temperature
from birdclef.metrics.classification import (
    Resamples,
    accuracy,
    confusion_matrix,
    macro_f1,
    macro_f1_by_thresholds,
    micro_f1_by_thresholds,
    top_3_accuracy,
)
from birdclef.metrics.headline import HEADLINE_METRICS
from birdclef.metrics.predictions import Predictions
from birdclef.metrics.ranking import average_precision, macro_roc_auc, padded_cmap, roc_auc
from birdclef.metrics.secondary_species import IgnoredPairs, leave_out, mark_secondary
from birdclef.metrics.thresholds import fit_thresholds

CLASSES = 6
SPECIES = [f"species{index}" for index in range(CLASSES)]


@pytest.fixture
def recordings() -> pd.DataFrame:
    """90 recordings of classes 0 to 4, of which every third has one or two secondary species; 5 is only secondary."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 90)
    secondary = [
        " ".join(generator.choice([name for name in SPECIES if name != SPECIES[label]], number, replace=False))
        for label, number in zip(labels, generator.choice([0, 0, 1, 2], 90), strict=True)
    ]
    return pd.DataFrame({"label_index": labels, "secondary_labels": secondary})


@pytest.fixture
def labels(recordings: pd.DataFrame) -> np.ndarray:
    return recordings["label_index"].to_numpy()


@pytest.fixture
def ignored(recordings: pd.DataFrame) -> IgnoredPairs:
    return mark_secondary(recordings, SPECIES)


@pytest.fixture(params=["distinct scores", "tied scores"])
def probabilities(request: pytest.FixtureRequest, labels: np.ndarray, ignored: IgnoredPairs) -> np.ndarray:
    odds = np.random.default_rng(1).random((90, CLASSES)) + 0.6 * ignored.toarray()
    odds[np.arange(90), labels] += 0.4
    scores = odds / odds.sum(axis=1, keepdims=True)
    return np.round(scores, 1) if request.param == "tied scores" else scores


@pytest.fixture
def predictions(probabilities: np.ndarray, ignored: IgnoredPairs) -> Predictions:
    return Predictions(probabilities, probabilities > 0.22, ignored)


def test_pairs_are_those_of_known_species_other_than_the_label() -> None:
    table = pd.DataFrame({"label_index": [0, 1, 2], "secondary_labels": ["bee cat", "", "cat dodo ant ant"]})
    expected = [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert mark_secondary(table, ["ant", "bee", "cat"]).toarray().astype(int).tolist() == expected


def test_what_is_left_keeps_its_ratios_and_adds_up_to_one() -> None:
    table = pd.DataFrame({"label_index": [0, 1], "secondary_labels": ["bee", ""]})
    left = leave_out(np.array([[0.2, 0.7, 0.1], [0.2, 0.7, 0.1]]), mark_secondary(table, ["ant", "bee", "cat"]))
    np.testing.assert_allclose(left, [[2 / 3, 0, 1 / 3], [0.2, 0.7, 0.1]], rtol=1e-9)


@pytest.mark.parametrize("name", HEADLINE_METRICS)
def test_oracle_of_all_species_of_a_recording_has_no_error(
    name: str, labels: np.ndarray, ignored: IgnoredPairs
) -> None:
    marks = ignored.toarray()
    marks[np.arange(90), labels] = True
    oracle = Predictions(marks.astype(float), marks, ignored)
    resamples = resample_groups(np.arange(90), 20, np.random.default_rng(0))
    best = 0 if name == "expected_calibration_error" else 1
    for drawn in (None, resamples):
        np.testing.assert_allclose(HEADLINE_METRICS[name].function(oracle, labels, drawn), best, atol=1e-9)
    if name not in ("top_3_accuracy", "top_5_accuracy"):  # the true species is never below the third place
        counted = HEADLINE_METRICS[name].function(Predictions(marks.astype(float), marks), labels, None)
        assert abs(counted[0] - best) > 0.01


def test_species_is_chosen_among_those_that_count(
    predictions: Predictions, probabilities: np.ndarray, labels: np.ndarray, ignored: IgnoredPairs
) -> None:
    left = np.where(ignored.toarray(), -1, probabilities)
    chosen = left.argmax(axis=1)
    assert (chosen != probabilities.argmax(axis=1)).sum() > 10
    assert predictions.chosen.tolist() == chosen.tolist()
    marks = ignored.toarray()
    share = np.where(marks.any(axis=1), np.where(marks, 0, probabilities).sum(axis=1), 1)
    np.testing.assert_allclose(predictions.confidence, left.max(axis=1) / share, rtol=1e-6)
    expected = f1_score(labels, chosen, labels=np.unique(labels), average="macro", zero_division=0)
    assert macro_f1(predictions, labels)[0] == pytest.approx(expected)
    assert accuracy(predictions, labels)[0] == pytest.approx((chosen == labels).mean())
    assert confusion_matrix(predictions, labels)[labels, chosen].min() > 0


def test_top_3_counts_only_places_of_species_that_count(
    predictions: Predictions, probabilities: np.ndarray, labels: np.ndarray, ignored: IgnoredPairs
) -> None:
    hits = []
    for row, own in enumerate(labels):
        counted = np.flatnonzero(~ignored.toarray()[row])
        order = counted[np.argsort(-probabilities[row, counted], kind="stable")]
        hits.append(own in order[:3])
    assert top_3_accuracy(predictions, labels)[0] == pytest.approx(np.mean(hits))


def test_decision_on_a_secondary_species_counts_neither_way(
    predictions: Predictions, labels: np.ndarray, ignored: IgnoredPairs
) -> None:
    assert predictions.decisions is not None
    truth, counted = np.eye(CLASSES, dtype=bool)[labels], ~ignored.toarray()
    each = [
        f1_score(truth[counted[:, label], label], predictions.decisions[counted[:, label], label], zero_division=0)
        for label in range(5)
    ]
    assert macro_f1_by_thresholds(predictions, labels)[0] == pytest.approx(np.mean(each))
    pooled = f1_score(truth[counted], predictions.decisions[counted])
    assert micro_f1_by_thresholds(predictions, labels)[0] == pytest.approx(pooled)


def test_recordings_with_a_secondary_species_leave_its_ranking(
    predictions: Predictions, probabilities: np.ndarray, labels: np.ndarray, ignored: IgnoredPairs
) -> None:
    multiplicities = np.random.default_rng(2).integers(0, 4, (5, 90))
    resamples = Resamples(np.arange(90), np.vstack([np.ones((1, 90)), multiplicities]).T)
    areas, precisions = roc_auc(predictions, labels, resamples), average_precision(predictions, labels, resamples)
    padded = np.zeros((CLASSES, 6))
    for resample, counts in enumerate([np.ones(90, int), *multiplicities]):
        for label in range(CLASSES):
            rows = np.repeat(np.flatnonzero(~ignored.toarray()[:, label]), counts[~ignored.toarray()[:, label]])
            present, scores = labels[rows] == label, probabilities[rows, label]
            ones = np.ones(5)
            padded[label, resample] = average_precision_score(np.append(present, ones), np.append(scores, ones))
            if label < 5:
                assert areas[label, resample] == pytest.approx(roc_auc_score(present, scores))
                assert precisions[label, resample] == pytest.approx(average_precision_score(present, scores))
    np.testing.assert_allclose(padded_cmap(predictions, labels, resamples), padded.mean(axis=0), rtol=1e-9)
    once = [metric(predictions, labels)[0] for metric in (macro_roc_auc, padded_cmap)]
    assert once == pytest.approx([areas[:5, 0].mean(), padded[:, 0].mean()])


@pytest.mark.parametrize("metric", [macro_f1, padded_cmap, macro_roc_auc, micro_f1_by_thresholds])
def test_chance_shuffles_labels_with_their_secondary_species(
    metric: Metric, predictions: Predictions, labels: np.ndarray, ignored: IgnoredPairs
) -> None:
    generator = np.random.default_rng(3)
    permutations = np.stack([generator.permutation(90) for _ in range(4)])
    resamples = resample_groups(np.arange(90), 5, generator)
    found = estimate(metric, predictions, labels, resamples, 0.9, permutations).chance
    assert predictions.decisions is not None
    expected = []
    for order in permutations:  # the predictions are shuffled instead: recording i gets those of place[i]
        place = np.argsort(order)
        shuffled = Predictions(predictions.probabilities[place], predictions.decisions[place], ignored)
        expected.append(metric(shuffled, labels)[0])
    assert found == pytest.approx(np.mean(expected))


def test_temperature_is_that_of_the_softmax_over_species_that_count(
    probabilities: np.ndarray, labels: np.ndarray, ignored: IgnoredPairs
) -> None:
    counted = ~ignored.toarray()
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)  # rounded ones add up to 0.9 or 1.1

    def loss(log_temperature: float) -> float:
        terms = []
        for row, own in enumerate(labels):
            powers = np.maximum(probabilities[row], 1e-12) ** np.exp(-log_temperature)
            terms.append(-np.log(powers[own] / powers[counted[row]].sum()))
        return float(np.mean(terms))

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    assert fit_temperature(probabilities, labels, ignored) == pytest.approx(np.exp(best.x), rel=1e-3)
    described = describe_calibration(probabilities, labels, ignored)
    assert described["negative_log_likelihood"] == pytest.approx(loss(0.0), rel=1e-6)
    assert fit_temperature(probabilities, labels) != pytest.approx(np.exp(best.x), rel=1e-3)


def test_threshold_of_a_species_does_not_see_recordings_where_it_is_secondary(
    probabilities: np.ndarray, labels: np.ndarray, ignored: IgnoredPairs
) -> None:
    thresholds = fit_thresholds(probabilities, labels, ignored)
    marks = ignored.toarray()
    for any_score in (0.0, 0.37, 1.0):
        changed = np.where(marks, any_score, probabilities)
        assert fit_thresholds(changed, labels, ignored) == pytest.approx(thresholds)
    assert fit_thresholds(changed, labels) != pytest.approx(thresholds)
    pooled, present = probabilities[~marks], np.eye(CLASSES, dtype=bool)[labels][~marks]
    best = max(f1_score(present, pooled >= threshold, zero_division=0) for threshold in np.unique(pooled))
    assert f1_score(present, pooled >= thresholds[5]) == pytest.approx(best)  # without recordings: the common threshold
