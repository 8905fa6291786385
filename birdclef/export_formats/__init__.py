"""Models in exchange formats, and their model cards."""
