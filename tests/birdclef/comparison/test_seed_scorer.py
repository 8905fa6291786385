"""Expected values are scikit-learn's in a plain loop over resamples, or worked out in the test."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from birdclef.comparison.seed_scorer import OVERALL, SeedScorer, SeedValues, build_seed_scorer
from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.bootstrap import resample_groups
from birdclef.metrics.classification import Resamples
from birdclef.scores.scorer import Scorer


def test_resamples_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    recordings = pd.DataFrame(
        {
            "label_index": generator.integers(0, 3, 40),
            "group": generator.integers(0, 9, 40).astype(str),
            "fold": 0,
            "secondary_labels": "",
        }
    )
    species = pd.DataFrame({"label": ["ant", "bee", "cat"], "recordings": [5, 20, 30]})
    scorer = build_seed_scorer(recordings, species, 3, EvaluateConfig(bootstrap_samples=25))
    assert list(scorer.species_sets) == [OVERALL, "1-9", "10-99"]
    seeds = [generator.random((40, 3), np.float32) for _ in range(3)]
    values = scorer.score(seeds)
    truth = recordings["label_index"].to_numpy()

    def score(seed: np.ndarray, counts: np.ndarray, classes: list[int]) -> float:
        each = f1_score(truth, seed.argmax(1), labels=[0, 1, 2], average=None, sample_weight=counts, zero_division=0)
        return float(np.mean([each[label] for label in classes if counts[truth == label].sum() > 0]))

    for name, classes in ((OVERALL, [0, 1, 2]), ("10-99", [1, 2])):
        whole = [score(seed, np.ones(40), classes) for seed in seeds]
        assert values[name].seeds == pytest.approx(whole)
        assert values[name].groups == recordings.loc[np.isin(truth, classes), "group"].nunique()
        for resample in range(25):
            counts = scorer.scorer.resamples.counts[scorer.scorer.resamples.groups, resample]
            mean = np.mean([score(seed, counts, classes) for seed in seeds])
            drawn = np.mean([whole[seed] for seed in scorer.seed_draws[:, resample]])
            expected = mean + 1.5**0.5 * (drawn - np.mean(whole))  # 3 seeds: root of 3 / 2
            assert values[name].resampled[resample] == pytest.approx(expected, abs=1e-9)


def make_scorer(resamples: Resamples, labels: np.ndarray, seeds: int, generator: np.random.Generator) -> SeedScorer:
    """Returns a scorer of two species, each recording in a group of its own."""
    draws = generator.integers(seeds, size=(seeds, resamples.counts.shape[1]))
    scorer = Scorer(labels, np.zeros(len(labels), int), resamples, 0.95)
    return SeedScorer(scorer, {OVERALL: np.ones(2, bool)}, {OVERALL: len(resamples.counts)}, draws)


def test_variance_of_the_seeds_is_that_of_a_mean_of_new_seeds() -> None:
    labels = np.array([0, 1] * 100)
    once = Resamples(np.arange(200), np.ones((200, 20_000)))  # no doubt about the recordings
    scorer = make_scorer(once, labels, 3, np.random.default_rng(0))
    right = np.eye(2, dtype=np.float32)[labels]
    seeds = [np.where(np.arange(200)[:, None] < number, 1 - right, right) for number in (0, 40, 100)]
    values = scorer.score(seeds)[OVERALL]
    assert values.seeds == pytest.approx([1, 0.8, 0.5])
    assert values.resampled.var() == pytest.approx(np.var([1, 0.8, 0.5], ddof=1) / 3, rel=0.03)
    assert values.freedom == pytest.approx(2, rel=0.1)  # as of three seeds alone
    assert scorer.score(seeds[:1])[OVERALL].resampled.tolist() == [1.0] * 20_000  # a baseline has no seeds


def test_intervals_hold_the_mean_of_all_seeds() -> None:
    # A seed is right in 60 % ± 10 % of the recordings. Seeds drawn from the three seeds hold the mean in 79 %.
    generator = np.random.default_rng(1)
    labels = np.array([0, 1] * 100)
    right = np.eye(2, dtype=np.float32)[labels]
    scorer = make_scorer(resample_groups(np.arange(200), 200, generator), labels, 3, generator)
    held = 0
    for _ in range(200):
        skills = generator.normal(0.6, 0.1, 3)
        seeds = [np.where(generator.random((200, 1)) < skill, right, 1 - right) for skill in skills]
        values = scorer.score(seeds)[OVERALL]
        interval = scorer.scorer.interval(values.value, values.resampled, values.freedom)
        held += interval["low"] <= 0.6 <= interval["high"]
    assert 0.91 <= held / 200 <= 0.98


def test_differences_are_paired_by_seed_and_resample() -> None:
    first = SeedValues(np.array([0.5, 0.7]), np.array([0.6, 0.4, 0.8]), 9)
    other = SeedValues(np.array([0.4, 0.6]), np.array([0.5, 0.3, 0.7]), 9)
    difference = first.minus(other)
    assert difference.value == pytest.approx(0.1)
    assert difference.resampled == pytest.approx([0.1] * 3)
    assert first.minus(SeedValues(np.array([0.4]), other.resampled, 9)).seeds == pytest.approx([0.1, 0.3])


def test_degrees_of_freedom_lie_between_those_of_the_seeds_and_of_the_groups() -> None:
    # Variances: seeds 0.02 / 2 = 0.01, all 0.05; so (0.05)² / (0.04² / 10 + 0.01² / 1) = 9.615
    resampled = 0.5 + np.array([-1, 1]) * 0.05**0.5
    values = SeedValues(np.array([0.4, 0.6]), resampled, 11)
    assert values.freedom == pytest.approx(9.6154, rel=1e-4)
    assert SeedValues(np.array([0.5]), resampled, 11).freedom == pytest.approx(10)
