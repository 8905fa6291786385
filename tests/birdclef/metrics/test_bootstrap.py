"""Expected numbers are NumPy's and scikit-learn's on plainly repeated rows, or known from the design of the input."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from birdclef.metrics.bootstrap import estimate, percentile_interval, resample_groups
from birdclef.metrics.classification import Resamples, accuracy, macro_f1
from birdclef.metrics.predictions import Predictions

GROUPS = np.array([7, 7, 7, 2, 2, 9, 4, 4, 4, 4])


def per_recording(resamples: Resamples) -> np.ndarray:
    """Returns how often each recording counts, (resamples, recordings)."""
    return resamples.counts[resamples.groups].T


def permute(count: int, size: int) -> np.ndarray:
    generator = np.random.default_rng(5)
    return np.stack([generator.permutation(size) for _ in range(count)])


def test_each_resample_draws_as_many_groups_as_there_are() -> None:
    weights = per_recording(resample_groups(GROUPS, 50, np.random.default_rng(0)))
    assert weights.shape == (50, 10)
    first_of_group = [0, 3, 5, 6]
    assert weights[:, first_of_group].sum(axis=1).tolist() == [4] * 50
    assert (weights == weights.round()).all()
    assert (weights >= 0).all()


def test_recordings_of_a_group_are_drawn_together_and_groups_apart() -> None:
    weights = per_recording(resample_groups(GROUPS, 50, np.random.default_rng(0)))
    for group in np.unique(GROUPS):
        of_group = weights[:, group == GROUPS]
        assert (of_group == of_group[:, :1]).all()
    assert len(np.unique(weights[:, [0, 3, 5, 6]], axis=1).T) == 4


def test_mean_multiplicity_is_one() -> None:
    weights = per_recording(resample_groups(GROUPS, 4000, np.random.default_rng(0)))
    # a multiplicity has variance 3/4, so the standard error of its mean is 0.014
    assert weights.mean(axis=0) == pytest.approx(np.ones(10), abs=0.06)
    assert weights[:, 0].var() == pytest.approx(3 / 4, abs=0.08)


def test_resamples_follow_the_generator() -> None:
    first, same, other = (per_recording(resample_groups(GROUPS, 20, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_interval_leaves_equal_tails(confidence: float) -> None:
    values = np.random.default_rng(0).exponential(size=501)
    low, high = percentile_interval(values, confidence)
    assert low == pytest.approx(np.quantile(values, (1 - confidence) / 2))
    assert high == pytest.approx(np.quantile(values, (1 + confidence) / 2))


def test_interval_of_even_steps_by_hand() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))


def test_undefined_values_stay_out_of_the_interval() -> None:
    values = np.append(np.arange(101.0), [np.nan] * 40)
    assert percentile_interval(values, 0.9) == pytest.approx((5, 95))


def test_estimate_equals_a_plain_bootstrap() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 10)
    probabilities = generator.random((10, 3))
    resamples = resample_groups(GROUPS, 40, generator)
    permutations = permute(15, 10)
    result = estimate(macro_f1, Predictions(probabilities), labels, resamples, 0.8, permutations)

    def score(rows: np.ndarray, order: np.ndarray) -> float:
        truth, predicted = labels[order][rows], probabilities.argmax(axis=1)[rows]
        return f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)

    everything = np.arange(10)
    resampled = [score(np.repeat(everything, counts.astype(int)), everything) for counts in per_recording(resamples)]
    assert result.value == pytest.approx(score(everything, everything))
    assert [result.low, result.high] == pytest.approx(np.percentile(resampled, [10, 90]))
    assert result.chance == pytest.approx(np.mean([score(everything, order) for order in permutations]))


def test_perfect_predictor_has_the_chance_of_a_coin_on_balanced_classes() -> None:
    labels = np.repeat([0, 1], 100)
    resamples = resample_groups(np.arange(200), 30, np.random.default_rng(0))
    result = estimate(accuracy, Predictions(np.eye(2)[labels]), labels, resamples, 0.95, permute(100, 200))
    assert (result.value, result.low, result.high) == (1, 1, 1)
    assert result.chance == pytest.approx(0.5, abs=0.02)  # standard error 0.0035


def test_interval_narrows_with_its_confidence_and_holds_the_value() -> None:
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 2, 120)
    probabilities = np.eye(2)[labels] * 0.4 + generator.random((120, 2))
    resamples = resample_groups(np.arange(120) // 2, 400, generator)
    wide = estimate(accuracy, Predictions(probabilities), labels, resamples, 0.95, permute(2, 120))
    narrow = estimate(accuracy, Predictions(probabilities), labels, resamples, 0.5, permute(2, 120))
    assert wide.low < narrow.low < wide.value < narrow.high < wide.high
    assert wide.value == narrow.value
