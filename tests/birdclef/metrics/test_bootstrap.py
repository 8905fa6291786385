"""Expected numbers are NumPy's and scikit-learn's on plainly repeated rows, or known from the design of the input."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from birdclef.metrics.bootstrap import estimate, resample_groups
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


def ends(value: float, resampled: np.ndarray) -> tuple[float, float]:
    """Returns the lowest and the highest resample, in place of an interval."""
    return float(resampled.min()), float(resampled.max())


def test_estimate_equals_a_plain_bootstrap() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 10)
    probabilities = generator.random((10, 3))
    resamples = resample_groups(GROUPS, 40, generator)
    permutations = permute(15, 10)
    result = estimate(macro_f1, Predictions(probabilities), labels, resamples, ends, permutations)

    def score(rows: np.ndarray, order: np.ndarray) -> float:
        truth, predicted = labels[order][rows], probabilities.argmax(axis=1)[rows]
        return f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)

    everything = np.arange(10)
    resampled = [score(np.repeat(everything, counts.astype(int)), everything) for counts in per_recording(resamples)]
    assert result.value == pytest.approx(score(everything, everything))
    assert [result.low, result.high] == pytest.approx([min(resampled), max(resampled)])
    assert result.chance == pytest.approx(np.mean([score(everything, order) for order in permutations]))


def test_perfect_predictor_has_the_chance_of_a_coin_on_balanced_classes() -> None:
    labels = np.repeat([0, 1], 100)
    resamples = resample_groups(np.arange(200), 30, np.random.default_rng(0))
    result = estimate(accuracy, Predictions(np.eye(2)[labels]), labels, resamples, ends, permute(100, 200))
    assert (result.value, result.low, result.high) == (1, 1, 1)
    assert result.chance == pytest.approx(0.5, abs=0.02)  # standard error 0.0035
