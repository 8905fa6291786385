"""Compares objectives with each other, and reports with each other."""
