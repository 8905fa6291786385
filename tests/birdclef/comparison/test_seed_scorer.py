"""Expected values are scikit-learn's in a plain loop over resamples, or worked out in the test."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from birdclef.comparison.seed_scorer import OVERALL, SeedScorer, build_seed_scorer
from birdclef.config.evaluate import EvaluateConfig
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
    for name, classes in ((OVERALL, [0, 1, 2]), ("10-99", [1, 2])):
        for resample in range(25):
            counts = scorer.scorer.resamples.counts[scorer.scorer.resamples.groups, resample]
            drawn = []
            for seed in scorer.seed_draws[:, resample]:
                each = f1_score(
                    truth, seeds[seed].argmax(1), labels=[0, 1, 2], average=None, sample_weight=counts, zero_division=0
                )
                supported = [label for label in classes if counts[truth == label].sum() > 0]
                drawn.append(np.mean(each[supported]))
            assert values[name].resampled[resample] == pytest.approx(np.mean(drawn), abs=1e-9)


def test_intervals_hold_the_doubt_about_the_seed() -> None:
    labels = np.array([0, 1] * 10)
    right = np.eye(2, dtype=np.float32)[labels]
    once = Resamples(np.zeros(20, int), np.ones((1, 200)))  # no doubt about the recordings
    draws = np.random.default_rng(0).integers(2, size=(2, 200))
    scorer = SeedScorer(Scorer(labels, np.zeros(20, int), once, 0.95), {OVERALL: np.ones(2, bool)}, draws)
    values = scorer.score([right, 1 - right])[OVERALL]
    assert scorer.scorer.interval(values.value, values.resampled) == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert scorer.score([right])[OVERALL].resampled.tolist() == [1.0] * 200  # a baseline has no seeds
