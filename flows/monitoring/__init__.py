"""Status of runs and artefacts, health, logs and notifications."""
