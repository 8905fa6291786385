"""Presets, overrides, messages on wrong keys, and the origin of each value."""
