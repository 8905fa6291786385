"""Simple classifiers that a network has to beat."""
