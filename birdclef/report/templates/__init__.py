"""Templates of reports, diffs and model cards."""
