"""Scores any predictions on the same recordings and resamples."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.bootstrap import Estimate, Interval, estimate, resample_groups
from birdclef.metrics.classification import Floats, Resamples, macro_f1
from birdclef.metrics.headline import HEADLINE_METRICS, HeadlineMetric
from birdclef.metrics.intervals import plain_interval, score_interval
from birdclef.metrics.predictions import Labels, Predictions
from birdclef.metrics.secondary_species import IgnoredPairs, mark_secondary
from birdclef.metrics.thresholds import cross_fit_decisions

_NOT_DECIDED = Estimate(np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Scorer:
    """Labels, folds and resamples that all scores of a report or a comparison share, so that differences are paired.

    Attributes:
        labels: True class of each recording, (recordings,).
        folds: Fold that validates each recording, (recordings,).
        resamples: How often each recording counts in each resample.
        confidence: Coverage of the intervals, 0 to 1.
        ignored: Pairs of recording and secondary species, which no score counts; None: all pairs count.
    """

    labels: Labels
    folds: Labels
    resamples: Resamples
    confidence: float
    ignored: IgnoredPairs | None = None

    def predictions(self, probabilities: NDArray[np.floating]) -> Predictions:
        """Returns predictions without decisions, which leave secondary species out.

        Args:
            probabilities: (recordings, classes).
        """
        return Predictions(probabilities, None, self.ignored)

    def decide(self, probabilities: NDArray[np.floating]) -> Predictions:
        """Returns predictions with decisions: temperature and thresholds of each fold are fitted on the other folds.

        With a single fold there are no decisions.

        Args:
            probabilities: (recordings, classes).
        """
        decisions = cross_fit_decisions(probabilities, self.labels, self.folds, self.ignored)
        return Predictions(probabilities, decisions, self.ignored)

    def estimates(self, predictions: Predictions, permutations: NDArray[np.int64]) -> dict[str, dict[str, float]]:
        """Returns all headline metrics with their intervals and chance floors; NaN where decisions are missing.

        Args:
            predictions: With decisions, as `decide` returns them.
            permutations: Shuffled recording indices, (permutations, recordings).
        """
        return {
            name: asdict(
                _NOT_DECIDED
                if metric.decided and predictions.decisions is None
                else estimate(
                    metric.function, predictions, self.labels, self.resamples, self.interval_of(metric), permutations
                )
            )
            for name, metric in HEADLINE_METRICS.items()
        }

    def macro_f1(self, predictions: Predictions) -> float:
        """Returns macro-F1 over all recordings."""
        return float(macro_f1(predictions, self.labels)[0])

    def macro_f1_difference(self, first: Predictions, second: Predictions) -> dict[str, float]:
        """Returns the macro-F1 of `first` minus that of `second`, with the interval of the paired resamples."""
        if first.equal(second):
            return no_difference()
        paired = macro_f1(first, self.labels, self.resamples) - macro_f1(second, self.labels, self.resamples)
        return self.difference(self.macro_f1(first) - self.macro_f1(second), paired)

    def interval(self, value: float, resampled: Floats, freedom: float | None = None) -> dict[str, float]:
        """Returns a score from 0 to 1 with its interval.

        Args:
            value: Score on all recordings.
            resampled: Score on each resample, (resamples,).
            freedom: Degrees of freedom of the resamples' distance from it; None: one less than groups.
        """
        low, high = score_interval(value, resampled, self.confidence, self.freedom if freedom is None else freedom)
        return {"value": value, "low": low, "high": high}

    def difference(
        self, value: float, resampled: Floats, freedom: float | None = None, confidence: float | None = None
    ) -> dict[str, float]:
        """Returns a difference of scores with its interval.

        Args:
            value: Difference on all recordings.
            resampled: Difference on each resample, (resamples,).
            freedom: Degrees of freedom of the resamples' distance from it; None: one less than groups.
            confidence: Coverage; None: that of the scorer.
        """
        freedom = self.freedom if freedom is None else freedom
        low, high = plain_interval(value, resampled, confidence or self.confidence, freedom, (-1, 1))
        return {"value": value, "low": low, "high": high}

    def interval_of(self, metric: HeadlineMetric) -> Interval:
        """Returns the function that finds a headline metric's interval."""
        if metric.is_error:
            return lambda value, resampled: plain_interval(value, resampled, self.confidence, self.freedom, (0, 1))
        return lambda value, resampled: score_interval(value, resampled, self.confidence, self.freedom)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the distance of resamples: one less than groups."""
        return len(self.resamples.counts) - 1


def no_difference() -> dict[str, float]:
    """Returns the difference between the scores of one and the same predictions."""
    return {"value": 0.0, "low": 0.0, "high": 0.0}


def build_scorer(
    recordings: pd.DataFrame, species: Sequence[str], config: EvaluateConfig, generator: np.random.Generator
) -> Scorer:
    """Returns a scorer of predictions on the given recordings.

    Args:
        recordings: label_index, secondary_labels, fold and group of each scored recording.
        species: Label of each class.
        config: Number of resamples, and confidence.
        generator: Source of randomness for the resamples.
    """
    groups = pd.factorize(recordings["group"])[0].astype(np.int64)
    resamples = resample_groups(groups, config.bootstrap_samples, generator)
    labels, folds = (recordings[name].to_numpy(np.int64) for name in ("label_index", "fold"))
    return Scorer(labels, folds, resamples, config.confidence, mark_secondary(recordings, species))


def shuffle_recordings(recordings: int, permutations: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Returns shuffled recording indices for chance floors, (permutations, recordings)."""
    return np.stack([generator.permutation(recordings) for _ in range(permutations)])
