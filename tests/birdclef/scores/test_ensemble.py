"""Expected numbers are SciPy's, or written out in the test."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import gmean, pmean, rankdata

from birdclef.scores.ensemble import check_members, combine_members, cross_fit_weights, fit_weights
from birdclef.scores.prediction_files import OutOfFold


def make_member(names: list[str], classes: int = 2) -> OutOfFold:
    recordings = pd.DataFrame({"recording_id": names, "label": "owl"})
    return OutOfFold(
        recordings, pd.DataFrame({"view": ["plain"], "weight": [1.0]}), np.zeros((1, len(names), classes), np.float32)
    )


def test_members_on_the_same_recordings_pass() -> None:
    check_members({"one": make_member(["a", "b"])})
    check_members({"one": make_member(["a", "b"]), "two": make_member(["a", "b"])})


def test_recordings_in_only_one_member_are_named() -> None:
    members = {"one": make_member(["a", "b"]), "two": make_member(["a", "b"]), "three": make_member(["b", "c"])}
    with pytest.raises(ValueError, match=r"'one' and 'three'.* only one of them predicts a, c\. Train"):
        check_members(members)


def test_five_differing_recordings_are_named_and_the_rest_counted() -> None:
    members = {"one": make_member([]), "two": make_member([f"r{index}" for index in range(7)])}
    with pytest.raises(ValueError, match=r"only one of them predicts r0, r1, r2, r3, r4 and 2 more\. Train"):
        check_members(members)


def test_members_with_other_numbers_of_species_are_refused() -> None:
    with pytest.raises(ValueError, match=r"they predict 2 and 3 species\. Train"):
        check_members({"one": make_member(["a"]), "two": make_member(["a"], classes=3)})


def test_mean_of_members() -> None:
    first, second = np.array([[0.2, 0.8]], np.float32), np.array([[0.6, 0.4]], np.float32)
    assert combine_members([first, second], "mean") == pytest.approx(np.array([[0.4, 0.6]]))
    assert combine_members([first], "mean") == pytest.approx(first)


def test_geometric_mean_of_members_is_normalised() -> None:
    members = np.random.default_rng(0).dirichlet(np.ones(4), (3, 10)).astype(np.float32)
    combined = combine_members(list(members), "geometric")
    expected = gmean(members.astype(np.float64), axis=0)
    assert combined == pytest.approx(expected / expected.sum(axis=1, keepdims=True))
    assert combined.sum(axis=1) == pytest.approx(np.ones(10))


def test_geometric_mean_with_a_zero_is_finite() -> None:
    certain, unsure = np.array([[1.0, 0.0]], np.float32), np.array([[0.5, 0.5]], np.float32)
    combined = combine_members([certain, unsure], "geometric")
    assert combined == pytest.approx(np.array([[1.0, 0.0]]), abs=1e-5)
    # two certain members of opposite opinion cancel out
    assert combine_members([certain, certain[:, ::-1]], "geometric") == pytest.approx(np.array([[0.5, 0.5]]))


@pytest.fixture
def members() -> list[np.ndarray]:
    return list(np.random.default_rng(0).dirichlet(np.ones(4), (3, 40)).astype(np.float32))


def test_rms_is_the_power_mean_of_two(members: list[np.ndarray]) -> None:
    expected = pmean(np.stack(members).astype(float), 2, axis=0)
    np.testing.assert_allclose(combine_members(members, "rms"), expected / expected.sum(axis=1, keepdims=True))


def test_rank_is_the_mean_of_the_ranks_of_the_recordings(members: list[np.ndarray]) -> None:
    ranks = np.zeros((40, 4))
    for member in members:
        for label in range(4):
            ranks[:, label] += rankdata(member[:, label])
    np.testing.assert_allclose(combine_members(members, "rank"), ranks / ranks.sum(axis=1, keepdims=True))


def test_fitted_mean_has_weights_for_all_or_for_each_recording(members: list[np.ndarray]) -> None:
    weights = np.array([0.2, 0.3, 0.5])
    expected = 0.2 * members[0].astype(float) + 0.3 * members[1] + 0.5 * members[2]
    np.testing.assert_allclose(combine_members(members, "fitted", weights), expected)
    of_each = np.repeat(weights[:, None], 40, axis=1)
    of_each[:, 7] = [1, 0, 0]
    combined = combine_members(members, "fitted", of_each)
    np.testing.assert_allclose(combined[7], members[0][7])
    np.testing.assert_allclose(np.delete(combined, 7, axis=0), np.delete(expected, 7, axis=0))
    with pytest.raises(ValueError, match="needs weights"):
        combine_members(members, "fitted")


def test_weights_make_the_mean_most_likely(members: list[np.ndarray]) -> None:
    labels = members[1].argmax(axis=1)
    labels[:20] = members[0][:20].argmax(axis=1)
    weights = fit_weights(members[:2], labels)
    own = [member[np.arange(40), labels].astype(float) for member in members[:2]]
    best = minimize_scalar(
        lambda weight: -np.log(weight * own[0] + (1 - weight) * own[1]).sum(), bounds=(0, 1), method="bounded"
    )
    assert weights == pytest.approx([best.x, 1 - best.x], abs=1e-3)
    assert 0.05 < weights[0] < 0.95


def test_useless_member_gets_no_weight(members: list[np.ndarray]) -> None:
    labels = members[2].argmax(axis=1)
    uniform = np.full((40, 4), 0.25, np.float32)
    assert fit_weights([uniform, np.eye(4)[labels]], labels) == pytest.approx([0, 1], abs=1e-6)


def test_weights_of_a_fold_come_from_the_other_folds(members: list[np.ndarray]) -> None:
    folds, labels = np.arange(40) % 3, members[0].argmax(axis=1)
    labels[folds == 2] = members[1].argmax(axis=1)[folds == 2]
    weights = cross_fit_weights(members, labels, folds)
    for fold in range(3):
        others = folds != fold
        expected = fit_weights([member[others] for member in members], labels[others])
        np.testing.assert_array_equal(weights[fold], expected)
    assert weights[2][0] > weights[0][0]
    assert cross_fit_weights(members, labels, np.zeros(40, int))[0] == pytest.approx([1 / 3] * 3)
