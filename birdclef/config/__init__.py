"""Typed, frozen configuration of training, prediction, evaluation and promotion."""
