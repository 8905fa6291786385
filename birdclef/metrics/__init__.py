"""Metrics of predictions, and the thresholds, calibration and resamples that go with them."""
