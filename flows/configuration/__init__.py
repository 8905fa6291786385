"""Presets by name, overrides, what a wrong key is told, and where each value comes from."""
