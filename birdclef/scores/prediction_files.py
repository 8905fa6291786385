"""The files that predictions consist of."""

MAPPING = "labels.csv"
