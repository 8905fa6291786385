"""Configuration of the promotion."""

from cache.config.section import ConfigSection, Probability


class PromoteConfig(ConfigSection):
    """Settings of the decision whether a report replaces the champion."""

    margin: Probability = 0.02
    """Largest tolerated loss of macro-F1. A report replaces the champion if the whole interval of the difference lies
    at or above minus this value, for the champion and for the best champion so far. The first report has no champion to
    beat: it is compared with chance, its baseline and an embedding model's own labels, without a margin."""
