"""Scores any probabilities on the same recordings, resamples and permutations."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.bootstrap import Metric, estimate, percentile_interval, resample_groups
from birdclef.metrics.calibration import expected_calibration_error
from birdclef.metrics.classification import (
    Floats,
    Resamples,
    accuracy,
    macro_f1,
    macro_f1_by_thresholds,
    micro_f1,
    micro_f1_by_thresholds,
    top_3_accuracy,
    top_5_accuracy,
)
from birdclef.metrics.predictions import Labels, Predictions
from birdclef.metrics.ranking import macro_roc_auc, padded_cmap
from birdclef.metrics.thresholds import cross_fit_decisions

HEADLINE_METRICS: dict[str, Metric] = {
    "macro_f1": macro_f1,
    "macro_f1_by_thresholds": macro_f1_by_thresholds,
    "micro_f1": micro_f1,
    "micro_f1_by_thresholds": micro_f1_by_thresholds,
    "accuracy": accuracy,
    "top_3_accuracy": top_3_accuracy,
    "top_5_accuracy": top_5_accuracy,
    "macro_roc_auc": macro_roc_auc,
    "padded_cmap": padded_cmap,
    "expected_calibration_error": expected_calibration_error,
}


@dataclass(frozen=True)
class Scorer:
    """What all that is scored is scored on.

    Attributes:
        labels: True class, (recordings,).
        folds: Fold that each recording was held out in, (recordings,).
        resamples: Of the recordings, by recordist.
        permutations: Shuffles, (permutations, recordings).
        confidence: Coverage of the intervals.
    """

    labels: Labels
    folds: Labels
    resamples: Resamples
    permutations: NDArray[np.int64]
    confidence: float

    def decide(self, probabilities: NDArray[np.floating]) -> Predictions:
        """Returns predictions with decisions: temperature and thresholds of each fold are fitted on the others.

        Args:
            probabilities: (recordings, classes).
        """
        return Predictions(probabilities, cross_fit_decisions(probabilities, self.labels, self.folds))

    def estimates(self, predictions: Predictions) -> dict[str, dict[str, float]]:
        """Returns all headline metrics of predictions that hold decisions, with intervals and chance floors."""
        return {
            name: asdict(estimate(metric, predictions, self.labels, self.resamples, self.confidence, self.permutations))
            for name, metric in HEADLINE_METRICS.items()
        }

    def macro_f1(self, predictions: Predictions) -> float:
        """Returns macro-F1 over all recordings."""
        return float(macro_f1(predictions, self.labels)[0])

    def macro_f1_difference(self, first: Predictions, second: Predictions) -> dict[str, float]:
        """Returns first minus second in macro-F1, with the interval of the paired resamples."""
        paired = macro_f1(first, self.labels, self.resamples) - macro_f1(second, self.labels, self.resamples)
        return self.interval(self.macro_f1(first) - self.macro_f1(second), paired)

    def interval(self, value: float, resampled: Floats) -> dict[str, float]:
        """Returns a value with the interval of its resamples, (resamples,)."""
        low, high = percentile_interval(resampled, self.confidence)
        return {"value": value, "low": low, "high": high}


def build_scorer(recordings: pd.DataFrame, config: EvaluateConfig) -> Scorer:
    """Returns a scorer of predictions for some recordings.

    Args:
        recordings: label_index, fold and group of those that are scored.
        config: Resamples, permutations, their seed, and confidence.
    """
    generator = np.random.default_rng(config.seed)
    groups = pd.factorize(recordings["group"])[0].astype(np.int64)
    resamples = resample_groups(groups, config.bootstrap_samples, generator)
    permutations = np.stack([generator.permutation(len(recordings)) for _ in range(config.permutations)])
    labels, folds = (recordings[name].to_numpy(np.int64) for name in ("label_index", "fold"))
    return Scorer(labels, folds, resamples, permutations, config.confidence)
