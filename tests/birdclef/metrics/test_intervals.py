"""Expected values are tabled quantiles, hand calculations, or shares of made-up data sets whose true value is known."""

import numpy as np
import pytest
from scipy.stats import binomtest

from birdclef.metrics.bootstrap import resample_groups
from birdclef.metrics.classification import macro_f1
from birdclef.metrics.intervals import joint_confidence, plain_interval, score_interval
from birdclef.metrics.predictions import Predictions

SPECIES, RECORDINGS = 20, 200


def around(value: float, distance: float) -> np.ndarray:
    """Returns resamples at this distance from a value."""
    return value + np.array([-1, 1]) * distance


def predict(generator: np.random.Generator) -> tuple[Predictions, np.ndarray]:
    """Returns predictions of which half are right and the others drawn blindly, and the labels."""
    labels, guesses = generator.integers(0, SPECIES, (2, RECORDINGS))
    return Predictions(np.eye(SPECIES)[np.where(generator.random(RECORDINGS) < 0.5, labels, guesses)]), labels


def test_interval_holds_the_true_value_in_as_many_data_sets_as_it_says() -> None:
    # Percentiles of the resamples hold it in 91 %: some species are lost in each resample.
    generator = np.random.default_rng(0)
    truth = np.mean([macro_f1(*predict(generator))[0] for _ in range(1000)])
    held = 0
    for _ in range(400):
        data = predict(generator)
        resampled = macro_f1(*data, resample_groups(np.arange(RECORDINGS), 200, generator))
        low, high = score_interval(float(macro_f1(*data)[0]), resampled, 0.95, RECORDINGS - 1)
        held += low <= truth <= high
    assert 0.93 <= held / 400 <= 0.97


def test_plain_interval_is_students() -> None:
    # t of 4 degrees of freedom at 97.5 %: 2.776
    assert plain_interval(0.1, around(0.1, 0.01), 0.95, 4, (-1, 1)) == pytest.approx(
        (0.1 - 0.02776, 0.1 + 0.02776), abs=1e-5
    )


def test_score_interval_is_symmetric_on_the_logit_scale() -> None:
    # logit 0.8 = ln 4; the distance there is 0.04 / (0.8 * 0.2) = 0.25; t of 10 degrees of freedom: 2.228
    low, high = score_interval(0.8, around(0.8, 0.04), 0.95, 10)
    assert low == pytest.approx(1 / (1 + np.exp(-(np.log(4) - 2.228 * 0.25))), abs=1e-4)
    assert high == pytest.approx(1 / (1 + np.exp(-(np.log(4) + 2.228 * 0.25))), abs=1e-4)
    assert 0.8 - low > high - 0.8


def test_resamples_off_the_value_widen_the_interval() -> None:
    # Distances 0.3 and 0.1: root mean square 0.05 ** 0.5. The deviation would be 0.1 wherever the resamples lie.
    low, high = plain_interval(0.6, np.array([0.3, 0.5]), 0.95, 4, (0, 2))
    assert high - 0.6 == pytest.approx(2.776 * 0.05**0.5, abs=1e-3)
    assert 0.6 - low == pytest.approx(0.6)  # clipped


@pytest.mark.parametrize("value", [0.0, 0.001, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("deviation", [0.0, 0.03, 0.4])
def test_interval_holds_its_own_value_and_stays_in_range(value: float, deviation: float) -> None:
    resampled = value + np.random.default_rng(0).normal(-7, 1, 100) * deviation  # all below the value
    for low, high in (
        score_interval(value, resampled, 0.95, 12),
        plain_interval(value, resampled, 0.95, 12, (0, 1)),
    ):
        assert 0 <= low <= value + 1e-12
        assert value - 1e-12 <= high <= 1


@pytest.mark.parametrize("right", [0, 13])
def test_interval_of_all_or_nothing_is_that_of_clopper_and_pearson(right: int) -> None:
    exact = binomtest(right, 13).proportion_ci(0.95, "exact")
    found = score_interval(right / 13, np.full(50, right / 13), 0.95, 12)
    assert found == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("difference", [0.0, -1.0])
def test_groups_that_are_all_alike_do_not_show_that_another_one_is(difference: float) -> None:
    unseen = binomtest(0, 13).proportion_ci(0.95, "exact").high
    found = plain_interval(difference, np.full(50, difference), 0.95, 12, (-1, 1))
    assert found == pytest.approx((max(-1, difference - unseen), difference + unseen))


def test_undefined_resamples_are_left_out() -> None:
    resampled = np.random.default_rng(1).normal(0.4, 0.05, 50)
    with_undefined = np.append(resampled, [np.nan] * 9)
    assert score_interval(0.4, with_undefined, 0.9, 20) == score_interval(0.4, resampled, 0.9, 20)


def test_an_undefined_metric_has_no_interval() -> None:
    undefined = np.full(30, np.nan)
    assert np.isnan(score_interval(np.nan, undefined, 0.95, 12)).all()
    assert np.isnan(plain_interval(np.nan, undefined, 0.95, 12, (-1, 1))).all()


def test_one_group_tells_nothing() -> None:
    same = np.full(30, 0.6)
    assert score_interval(0.6, same, 0.95, 0) == (0, 1)
    assert plain_interval(0.1, same, 0.95, 0, (-1, 1)) == (-1, 1)


@pytest.mark.parametrize(("arms", "critical"), [(2, 2.21), (3, 2.35), (8, 2.65)], ids="{} arms".format)
def test_joint_confidence_is_dunnetts(arms: int, critical: float) -> None:
    # Dunnett 1955, two-sided 5 %, infinite degrees of freedom: arms that share a reference correlate by 0.5.
    generator = np.random.default_rng(2)
    each, reference = generator.normal(size=(arms, 2000)), generator.normal(size=2000)
    confidence = joint_confidence(each - reference, 0.95, generator)
    expected = {2.21: 0.97289, 2.35: 0.98123, 2.65: 0.99195}[critical]  # of the standard normal distribution
    assert confidence == pytest.approx(expected, abs=1e-3)


def join(resampled: np.ndarray, confidence: float = 0.95) -> float:
    return joint_confidence(resampled, confidence, np.random.default_rng(5))


def test_joint_confidence_of_equal_or_single_differences_is_that_of_one() -> None:
    one = np.random.default_rng(3).normal(size=(1, 400))
    assert join(one, 0.9) == 0.9
    assert join(np.repeat(one, 6, axis=0), 0.9) == pytest.approx(0.9, abs=0.01)
    assert join(np.vstack([one, np.zeros((5, 400))]), 0.9) == 0.9  # the reference differs by nothing


def test_joint_confidence_does_not_need_the_tails_of_the_resamples() -> None:
    # Draws of two seeds have three values only, none of them further out than 1.41 deviations. Šidák: 0.95 ** (1 / 4).
    seeds = np.random.default_rng(4).integers(-1, 1, (4, 2, 1000)).sum(axis=1).astype(float)
    assert join(seeds) == pytest.approx(0.95**0.25, abs=2e-3)


def test_joint_confidence_leaves_out_undefined_resamples() -> None:
    several = np.random.default_rng(4).normal(size=(3, 500))
    with_undefined = np.column_stack([several, np.full((3, 80), np.nan)])
    assert join(with_undefined) == join(several)
    assert join(np.full((5, 80), np.nan)) == pytest.approx(0.99)  # Bonferroni's rule
