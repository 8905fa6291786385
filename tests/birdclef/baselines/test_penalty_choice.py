"""The data are made such that the best penalty is known."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from birdclef.baselines.penalty_choice import BOUNDS, FIRST_EXPONENTS, choose_penalties
from birdclef.baselines.softmax_regression import predict_path
from birdclef.metrics.secondary_species import mark_secondary


def differ_by(gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns two features that differ by a gap whose sign tells the species; only large coefficients see it."""
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 2
    common = generator.normal(size=120)
    gaps = gap * (2 * labels - 1 + generator.normal(0, 0.5, 120))
    return np.column_stack([common, common + gaps]), labels, np.arange(120) // 4


def test_grid_grows_until_an_inner_value_wins(caplog: pytest.LogCaptureFixture) -> None:
    path = choose_penalties(*differ_by(0.05), "fold 0")
    assert path[-1] > 10 ** FIRST_EXPONENTS[1]
    assert path[-1] < 10 ** BOUNDS[1]
    assert path == sorted(path)
    assert not caplog.records


def test_best_penalty_at_the_limit_is_told(caplog: pytest.LogCaptureFixture) -> None:
    # Each quarter of the recordings needs coefficients five times those of the one before.
    pairs = [differ_by(gap) for gap in (0.1, 0.02, 0.004, 0.0008)]
    parts = [np.pad(pair[0], ((0, 0), (2 * place, 6 - 2 * place))) for place, pair in enumerate(pairs)]
    labels = np.concatenate([pair[1] for pair in pairs])
    with caplog.at_level(logging.WARNING):
        path = choose_penalties(np.concatenate(parts), labels, np.arange(480) // 4, "fold 2")
    assert path[-1] == pytest.approx(10 ** BOUNDS[1])
    assert "baseline, fold 2: the best inverse penalty 10000 is the limit of the search" in caplog.text


def test_an_edge_never_wins_by_a_tie(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(60) % 3
    separable = 9 * np.eye(3)[labels] + np.random.default_rng(1).normal(size=(60, 3))
    path = choose_penalties(separable, labels, np.arange(60) // 6, "fold 0")  # each penalty finds all
    assert path[-1] == pytest.approx(10 ** (sum(FIRST_EXPONENTS) / 2))
    assert not caplog.records


def test_groups_stay_on_one_side_of_several_sets_of_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.arange(60) // 4
    labels = groups % 3
    held_out = []

    def watch(statistics: np.ndarray, labels: np.ndarray, predicted: np.ndarray, path: list[float]) -> np.ndarray:
        assert not set(statistics[:, 0]) & set(predicted[:, 0])
        held_out.append(tuple(predicted[:, 0]))
        return predict_path(statistics, labels, predicted, path)

    monkeypatch.setattr("birdclef.baselines.penalty_choice.predict_path", watch)
    noise = np.random.default_rng(2).normal(size=60)
    choose_penalties(np.column_stack([groups, noise]), labels, groups, "fold 0")
    sets = {tuple(sorted(held_out[first : first + 3])) for first in (0, 3, 6)}
    assert len(sets) == 3  # each set cuts the groups differently
    for one in sets:
        assert sorted(np.concatenate(one)) == groups.tolist()


def test_species_of_two_recordings_each_are_enough_for_a_choice() -> None:
    """A fold of scikit-learn needs as many recordings of a species as there are folds, at least of one species."""
    labels = np.array([0, 0, 1, 1, 2, 2])
    path = choose_penalties(np.eye(3)[labels], labels, np.arange(6), "fold 0")
    assert len(path) >= 1


def test_one_group_or_one_species_or_one_recording_of_each_needs_no_choice() -> None:
    statistics = np.arange(4.0)[:, np.newaxis]
    each = np.arange(4).tolist()
    for labels, groups in (([0, 1, 0, 1], [0, 0, 0, 0]), ([2, 2, 2, 2], each), (each, each)):
        path = choose_penalties(statistics, np.array(labels), np.array(groups), "fold 0")
        assert path[-1] == pytest.approx(10 ** (sum(FIRST_EXPONENTS) / 2))


def test_penalty_that_finds_secondary_species_is_not_punished(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(24) % 3
    secondary = ["bee", "", ""] * 8  # species 1 sings in every recording of species 0
    table = pd.DataFrame({"label_index": labels, "secondary_labels": secondary})
    hearing = 0.01

    def predict(_: np.ndarray, known: np.ndarray, predicted: np.ndarray, path: Sequence[float]) -> np.ndarray:
        """One penalty ranks the secondary species first; all others take every fourth recording for species 2."""
        own, number = predicted.T.astype(int)
        odds = np.tile(np.eye(3)[own], (len(path), 1, 1))
        for row, penalty in enumerate(path):
            if penalty == pytest.approx(hearing):
                odds[row, own == 0, 1] = 2
            else:
                odds[row, number == 0] = [0, 0, 1]
        return odds[:, :, np.unique(known)]

    monkeypatch.setattr("birdclef.baselines.penalty_choice.predict_path", predict)
    statistics = np.stack([labels, np.arange(24) % 4], axis=1).astype(np.float32)
    groups = np.arange(24) // 2
    ignored = mark_secondary(table, ["ant", "bee", "cat"])
    assert choose_penalties(statistics, labels, groups, "fold 0", ignored)[-1] == pytest.approx(hearing)
    assert choose_penalties(statistics, labels, groups, "fold 0")[-1] != pytest.approx(hearing)
