"""Names of the metrics in reports."""

METRIC_NAMES = {
    "macro_f1": "Macro-F1",
    "macro_f1_by_thresholds": "Macro-F1, thresholds of other folds",
    "micro_f1": "Micro-F1",
    "micro_f1_by_thresholds": "Micro-F1, thresholds of other folds",
    "accuracy": "Accuracy",
    "top_3_accuracy": "Top-3 accuracy",
    "top_5_accuracy": "Top-5 accuracy",
    "macro_roc_auc": "Macro ROC-AUC",
    "padded_cmap": "Padded cmAP(5)",
    "expected_calibration_error": "Expected calibration error",
}
