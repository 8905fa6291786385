"""Scores an arm that was trained with several seeds, over all species and over each bucket of species."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.buckets import BUCKETS, in_bucket
from birdclef.metrics.classification import Floats, macro_f1
from birdclef.scores.scorer import Scorer, build_scorer

OVERALL = "all"
"""Name of the set of all species."""


@dataclass(frozen=True)
class SeedValues:
    """Macro-F1 of one arm over one set of species.

    Attributes:
        seeds: Macro-F1 of each seed, (seeds,).
        resampled: Mean over seeds drawn with replacement, on each resample of the recordings, (resamples,).
    """

    seeds: Floats
    resampled: Floats

    @property
    def value(self) -> float:
        """Mean over the seeds."""
        return float(self.seeds.mean())


ArmValues = Mapping[str, SeedValues]
"""Values of an arm by the name of the set of species."""


@dataclass(frozen=True)
class SeedScorer:
    """Scores arms that were trained with several seeds.

    Attributes:
        scorer: Labels and resamples of the recordings, and intervals.
        species_sets: Name of each set of species to its members, (classes,) bool: all species, and each bucket with
            scored recordings.
        seed_draws: Seeds drawn with replacement for each resample, (seeds, resamples).
    """

    scorer: Scorer
    species_sets: Mapping[str, NDArray[np.bool_]]
    seed_draws: NDArray[np.int64]

    def score(self, seeds: Sequence[NDArray[np.floating[Any]]]) -> dict[str, SeedValues]:
        """Returns one arm's macro-F1 over each set of species.

        Args:
            seeds: Probabilities of each seed, (recordings, classes).
        """
        labels, resamples = self.scorer.labels, self.scorer.resamples
        predictions = [self.scorer.predictions(seed) for seed in seeds]
        values = {}
        for name, among in self.species_sets.items():
            each = np.stack([macro_f1(seed, labels, None, among)[0] for seed in predictions])  # (seeds,)
            resampled = np.stack([macro_f1(seed, labels, resamples, among) for seed in predictions])
            drawn = np.take_along_axis(resampled, self.seed_draws[: len(seeds)] % len(seeds), axis=0).mean(axis=0)
            values[name] = SeedValues(each, drawn)
        return values


def build_seed_scorer(
    recordings: pd.DataFrame, species: pd.DataFrame, seeds: int, config: EvaluateConfig
) -> SeedScorer:
    """Returns a scorer of arms on the given recordings.

    Args:
        recordings: label_index, secondary_labels, fold and group of each scored recording.
        species: label and number of usable recordings of each class.
        seeds: Seeds per arm.
        config: Number of resamples, their seed, and confidence.
    """
    generator = np.random.default_rng(config.seed)
    scorer = build_scorer(recordings, species["label"].tolist(), config, generator)
    counts = species["recordings"].to_numpy()
    species_sets = {OVERALL: np.ones(len(counts), bool)}
    for name, fewest, most in BUCKETS:
        inside = in_bucket(counts, fewest, most)
        if inside[scorer.labels].any():
            species_sets[name] = inside
    seed_draws = generator.integers(seeds, size=(seeds, config.bootstrap_samples))
    return SeedScorer(scorer, species_sets, seed_draws)
