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
from birdclef.metrics.intervals import mean_square_distance
from birdclef.scores.scorer import Scorer, build_scorer

OVERALL = "all"
"""Name of the set of all species."""


@dataclass(frozen=True)
class SeedValues:
    """Macro-F1 of one arm over one set of species, or the difference of two arms.

    Attributes:
        seeds: Value of each seed, (seeds,).
        resampled: Mean over seeds on each resample of the recordings, moved by a draw of the seeds, (resamples,).
        groups: Groups of recordings that hold the species.
    """

    seeds: Floats
    resampled: Floats
    groups: int

    @property
    def value(self) -> float:
        """Mean over the seeds."""
        return float(self.seeds.mean())

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the distance of `resampled` from the value, by Welch and Satterthwaite's rule.

        The distance has two sources, recordings and seeds, and few seeds tell little about theirs.
        """
        total = mean_square_distance(self.value, self.resampled)
        of_seeds = min(float(self.seeds.var(ddof=1)) / len(self.seeds), total) if len(self.seeds) > 1 else 0.0
        sources = ((total - of_seeds, self.groups - 1), (of_seeds, len(self.seeds) - 1))
        if total == 0 or self.groups < 2:
            return self.groups - 1
        return total**2 / sum(variance**2 / freedom for variance, freedom in sources if variance > 0)

    def minus(self, other: "SeedValues") -> "SeedValues":
        """Returns the difference to another arm, seed by seed; an arm with a single seed is compared with each."""
        return SeedValues(self.seeds - other.seeds, self.resampled - other.resampled, self.groups)


ArmValues = Mapping[str, SeedValues]
"""Values of an arm by the name of the set of species."""


@dataclass(frozen=True)
class SeedScorer:
    """Scores arms that were trained with several seeds.

    Attributes:
        scorer: Labels and resamples of the recordings, and intervals.
        species_sets: Name of each set of species to its members, (classes,) bool: all species, and each bucket with
            scored recordings.
        groups: Name of each set of species to the number of groups of recordings that hold its species.
        seed_draws: Seeds drawn with replacement for each resample, (seeds, resamples).
    """

    scorer: Scorer
    species_sets: Mapping[str, NDArray[np.bool_]]
    groups: Mapping[str, int]
    seed_draws: NDArray[np.int64]

    def score(self, seeds: Sequence[NDArray[np.floating[Any]]]) -> dict[str, SeedValues]:
        """Returns one arm's macro-F1 over each set of species.

        The mean of n seeds drawn from n seeds varies by n - 1 over n of what the mean of n new seeds does, so the draws
        are scaled by the root of n / (n - 1).

        Args:
            seeds: Probabilities of each seed, (recordings, classes).
        """
        labels, resamples = self.scorer.labels, self.scorer.resamples
        predictions = [self.scorer.predictions(seed) for seed in seeds]
        values = {}
        for name, among in self.species_sets.items():
            each = np.stack([macro_f1(seed, labels, None, among)[0] for seed in predictions])  # (seeds,)
            resampled = np.stack([macro_f1(seed, labels, resamples, among) for seed in predictions])
            drawn = each[self.seed_draws[: len(seeds)] % len(seeds)].mean(axis=0)  # (resamples,)
            scale = np.sqrt(len(seeds) / max(len(seeds) - 1, 1))
            moved = resampled.mean(axis=0) + scale * (drawn - each.mean())
            values[name] = SeedValues(each, moved, self.groups[name])
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
    held = {name: scorer.resamples.groups[inside[scorer.labels]] for name, inside in species_sets.items()}
    groups = {name: len(np.unique(own)) for name, own in held.items()}
    seed_draws = generator.integers(seeds, size=(seeds, config.bootstrap_samples))
    return SeedScorer(scorer, species_sets, groups, seed_draws)
