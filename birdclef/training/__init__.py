"""Fitting a model: its batches, objective, optimiser and memory."""
