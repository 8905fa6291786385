"""Prefect flows and command line: the order in which the stages run."""
