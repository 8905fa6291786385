"""Predictions of a model for windows, combined to scores of recordings."""
