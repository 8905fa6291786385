"""Shows results, progress and failures of runs in Prefect's user interface."""
