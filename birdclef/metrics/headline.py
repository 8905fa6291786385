"""The metrics that every report states. A new metric is added to the table here."""

from dataclasses import dataclass

from birdclef.metrics.bootstrap import Metric
from birdclef.metrics.calibration import expected_calibration_error
from birdclef.metrics.classification import (
    accuracy,
    macro_f1,
    macro_f1_by_thresholds,
    micro_f1,
    micro_f1_by_thresholds,
    top_3_accuracy,
    top_5_accuracy,
)
from birdclef.metrics.ranking import macro_roc_auc, padded_cmap


@dataclass(frozen=True)
class HeadlineMetric:
    """A metric of a report.

    Attributes:
        title: Name that readers of a report see.
        function: Computes the metric.
        compared: Whether `birdclef diff` compares reports by the metric. It can't use the thresholds of a report.
        is_error: Whether 0 is the best value. Such a metric may be estimated as exactly 0.
        decided: Whether the metric reads decisions, whose thresholds are fitted on the other folds.
    """

    title: str
    function: Metric
    compared: bool = False
    is_error: bool = False
    decided: bool = False


HEADLINE_METRICS = {
    "macro_f1": HeadlineMetric("Macro-F1", macro_f1, compared=True),
    "macro_f1_by_thresholds": HeadlineMetric("Macro-F1, fitted thresholds", macro_f1_by_thresholds, decided=True),
    "micro_f1": HeadlineMetric("Micro-F1", micro_f1),
    "micro_f1_by_thresholds": HeadlineMetric("Micro-F1, fitted thresholds", micro_f1_by_thresholds, decided=True),
    "accuracy": HeadlineMetric("Accuracy", accuracy, compared=True),
    "top_3_accuracy": HeadlineMetric("Top-3 accuracy", top_3_accuracy, compared=True),
    "top_5_accuracy": HeadlineMetric("Top-5 accuracy", top_5_accuracy),
    "macro_roc_auc": HeadlineMetric("Macro ROC-AUC", macro_roc_auc, compared=True),
    "padded_cmap": HeadlineMetric("Padded cmAP(5)", padded_cmap, compared=True),
    "expected_calibration_error": HeadlineMetric(
        "Expected calibration error, uncalibrated", expected_calibration_error, compared=True, is_error=True
    ),
}
"""Headline metrics by their name in `report.json`, in the order of a report."""

METRIC_TITLES = {
    name: f"{metric.title} (lower is better)" if metric.is_error else metric.title
    for name, metric in HEADLINE_METRICS.items()
}
"""Title of each headline metric by its name, in tables where most metrics are better if they are higher."""
