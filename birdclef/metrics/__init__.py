"""Metrics of predictions, with thresholds, calibration and resampling."""
