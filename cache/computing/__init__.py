"""Computes the parts of the store, several at a time, and tries again those whose process ended."""
