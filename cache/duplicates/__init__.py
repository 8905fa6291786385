"""Finds recordings that hold the same sound."""
