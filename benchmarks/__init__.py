"""Measurements against what a user would otherwise run, as ratios: `python -m benchmarks NAME`."""
