"""Expected numbers are NumPy's and scikit-learn's, or counted by hand where the test says so."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from birdclef.baselines.logistic import predict_held_out, predict_out_of_fold, strip_statistics

FEATURES = 6


@pytest.fixture(autouse=True)
def one_set_of_inner_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sets take three times as long; tests/birdclef/baselines/test_penalty_choice.py is about them."""
    monkeypatch.setattr("birdclef.baselines.penalty_choice.INNER_SETS", 1)


@pytest.fixture
def recordings() -> pd.DataFrame:
    """90 recordings of 3 species in 3 folds, one of 18 groups to five recordings; group 17 is pinned."""
    group = np.repeat(np.arange(18), 5)
    fold = np.where(group == 17, -1, group % 3)
    label = np.random.default_rng(0).integers(0, 3, 90)
    return pd.DataFrame({"label_index": label, "fold": fold, "group": [f"g{one}" for one in group]})


@pytest.fixture
def statistics(recordings: pd.DataFrame) -> np.ndarray:
    colour = np.random.default_rng(5).normal(0, 1, (3, FEATURES))
    noise = np.random.default_rng(105).normal(0, 2.5, (90, FEATURES))
    return (colour[recordings["label_index"]] + noise).astype(np.float32)


def fit_plainly(penalty: float) -> Pipeline:
    exact = LogisticRegression(C=penalty, class_weight="balanced", solver="newton-cholesky", tol=1e-6)
    return make_pipeline(StandardScaler(), exact)


def test_statistics_are_blocks_of_all_bands() -> None:
    strip = np.random.default_rng(0).normal(-50, 10, (83, 4)).astype(np.float16)
    values = strip_statistics(strip)
    assert values.shape == (6 * 4,)
    assert values.dtype == np.float32
    for band in range(4):
        column = strip[:, band].astype(np.float64)
        column -= np.median(column)
        expected = [column.mean(), column.std(), *(np.quantile(column, q) for q in (0.05, 0.25, 0.75, 0.95))]
        assert values.reshape(6, 4)[:, band] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_statistics_by_hand() -> None:
    # 0, 1, ..., 100: deviation sqrt((101² - 1) / 12)
    strip = np.arange(101, dtype=np.float16)[:, None]
    assert strip_statistics(strip) == pytest.approx([0, 850**0.5, -45, -25, 25, 45])


def test_statistics_do_not_depend_on_the_level_of_a_band() -> None:
    # A level per band is what a microphone or a steady background adds; the network does not see it either.
    strip = np.random.default_rng(1).integers(-80, -40, (50, 3)).astype(np.float16)
    louder = strip + np.array([10, 0, -16], np.float16)
    assert strip_statistics(louder).tolist() == strip_statistics(strip).tolist()


def test_statistics_of_half_precision_do_not_overflow() -> None:
    # The sum of 5000 values of -100 is beyond float16.
    strip = np.full((5000, 1), -100, np.float16)
    strip[:500] = 0
    assert strip_statistics(strip)[:2] == pytest.approx([10, 30])


def test_held_out_labels_do_not_change_their_predictions(statistics: np.ndarray, recordings: pd.DataFrame) -> None:
    before = predict_out_of_fold(statistics, recordings, 3)
    held_out = (recordings["fold"] == 1).to_numpy()
    shuffled = recordings.assign(label_index=recordings["label_index"].where(~held_out, 2))
    after = predict_out_of_fold(statistics, shuffled, 3)
    assert (after[held_out] == before[held_out]).all()
    others = ((recordings["fold"] != 1) & (recordings["fold"] != -1)).to_numpy()
    assert np.abs(after[others] - before[others]).min() > 0


def test_pinned_recordings_are_trained_on_and_not_predicted(statistics: np.ndarray, recordings: pd.DataFrame) -> None:
    pinned = (recordings["fold"] == -1).to_numpy()
    predictions = predict_out_of_fold(statistics, recordings, 3)
    assert (predictions[pinned] == 0).all()
    assert predictions[~pinned].sum(axis=1) == pytest.approx(np.ones(85), abs=1e-5)
    relabelled = recordings.assign(label_index=recordings["label_index"].where(~pinned, 0))
    assert (predict_out_of_fold(statistics, relabelled, 3)[~pinned] != predictions[~pinned]).any()


def test_species_without_training_recordings_has_probability_zero(
    statistics: np.ndarray, recordings: pd.DataFrame
) -> None:
    labels = recordings["label_index"].replace({1: 3})  # 1 has no recordings
    predictions = predict_out_of_fold(statistics, recordings.assign(label_index=labels), 5)
    assert predictions.shape == (90, 5)
    assert (predictions[:, [1, 4]] == 0).all()
    assert (predictions[recordings["fold"] != -1][:, [0, 2, 3]] > 0).all()


def test_separable_species_are_found_and_random_ones_are_not(recordings: pd.DataFrame) -> None:
    generator = np.random.default_rng(2)
    labels, validated = recordings["label_index"].to_numpy(), (recordings["fold"] != -1).to_numpy()
    noise = generator.normal(0, 1, (90, FEATURES)).astype(np.float32)
    separable = noise + 8 * np.eye(3, FEATURES, dtype=np.float32)[labels]
    found, random = (predict_out_of_fold(values, recordings, 3).argmax(axis=1) for values in (separable, noise))
    assert (found == labels)[validated].mean() > 0.95
    assert (random == labels)[validated].mean() < 0.55


def test_penalty_is_chosen_inside_each_training_side(statistics: np.ndarray, recordings: pd.DataFrame) -> None:
    labels, fold = recordings["label_index"].to_numpy(), recordings["fold"].to_numpy()
    predictions = predict_out_of_fold(statistics, recordings, 3)
    penalties = [10.0**exponent for exponent in range(-5, 2)]
    chosen = []
    for index in range(3):
        held_out = fold == index
        truth, groups = labels[~held_out], recordings["group"].to_numpy(str)[~held_out]
        groups = pd.factorize(groups)[0]
        scores = []
        for penalty in penalties:
            folds = StratifiedGroupKFold(3, shuffle=True, random_state=0)
            predicted = cross_val_predict(fit_plainly(penalty), statistics[~held_out], truth, groups=groups, cv=folds)
            scores.append(f1_score(truth, predicted, average="macro", zero_division=0))
        best = [penalty for penalty, score in zip(penalties, scores, strict=True) if score > max(scores) - 1e-12]
        chosen.append(best[len(best) // 2])
        assert penalties[0] < chosen[-1] < penalties[-1]
        model = fit_plainly(chosen[-1]).fit(statistics[~held_out], truth)
        assert predictions[held_out] == pytest.approx(model.predict_proba(statistics[held_out]), abs=2e-3)
    assert len(set(chosen)) > 1


def test_each_species_weighs_the_same(recordings: pd.DataFrame) -> None:
    # Nothing can be learnt, so the probabilities are the weights: equal ones, although 70 of 90 are of species 0.
    labels = np.where(np.arange(90) % 9 < 7, 0, np.arange(90) % 9 - 6)
    noise = np.random.default_rng(3).normal(0, 1e-9, (90, 1)).astype(np.float32)
    predictions = predict_out_of_fold(noise, recordings.assign(label_index=labels), 3)
    assert predictions[recordings["fold"] != -1].mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_training_side_of_two_groups_is_cut_into_two(statistics: np.ndarray) -> None:
    labels = np.tile([0, 1], 45)
    recordings = pd.DataFrame({"label_index": labels, "fold": np.arange(90) // 30, "group": np.arange(90) // 30})
    predictions = predict_out_of_fold(statistics, recordings, 2)
    assert predictions.sum(axis=1) == pytest.approx(np.ones(90), abs=1e-5)


def test_a_training_side_of_one_species_predicts_it() -> None:
    recordings = pd.DataFrame({"label_index": [0, 0, 1, 1], "fold": [0, 0, 1, 1], "group": ["a", "b", "c", "d"]})
    probabilities = predict_out_of_fold(np.eye(4, FEATURES, dtype=np.float32), recordings, 3)
    assert probabilities.tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]]


def test_a_training_side_of_one_group_needs_no_choice_of_penalty() -> None:
    recordings = pd.DataFrame({"label_index": [0, 1, 0, 1], "fold": [0, 0, 1, 1], "group": ["a", "a", "b", "b"]})
    statistics = np.array([[-1.0], [1.0], [-2.0], [2.0]], np.float32)
    assert predict_out_of_fold(statistics, recordings, 2).argmax(axis=1).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("folds", [[0, 1, 2], [0, 2]])
def test_held_out_recordings_are_predicted_by_the_mean_of_the_given_folds(
    folds: list[int], statistics: np.ndarray, recordings: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("birdclef.baselines.logistic.choose_penalties", lambda *_: [0.1])
    fold, labels = recordings["fold"].to_numpy().copy(), recordings["label_index"].to_numpy()
    fold[80:] = -2
    held_out = fold == -2
    expected = np.mean(
        [
            fit_plainly(0.1)
            .fit(statistics[(fold != index) & ~held_out], labels[(fold != index) & ~held_out])
            .predict_proba(statistics[held_out])
            for index in folds
        ],
        axis=0,
    )
    assert predict_held_out(statistics, recordings.assign(fold=fold), folds, 3) == pytest.approx(expected, abs=1e-3)
