"""Configuration of the promotion."""

from cache.config.section import ConfigSection, Probability


class PromoteConfig(ConfigSection):
    """When a report takes the champion's place."""

    margin: Probability = 0.02
    """Loss of macro-F1 that is tolerated: the whole interval of the difference must lie above minus this."""
