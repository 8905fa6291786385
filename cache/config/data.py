"""Configuration of the data set."""

from typing import ClassVar

from pydantic import (
    Field,
    PositiveFloat,
)

from cache.config.section import ConfigSection


class DataConfig(ConfigSection):
    """Where the recordings lie, and which of them are usable."""

    root: str
    """Folder that holds the metadata table and the audio folder."""
    metadata: str = "train_metadata.csv"
    """Table of recordings, one row each, relative to `root`."""
    audio: str = "train_audio"
    """Audio folder that the table's `filename` column is relative to, below `root`."""
    min_seconds: PositiveFloat = 0.5
    """Shorter recordings are quarantined."""
    silence_db: float = -60.0
    """Recordings whose loudest mel power (dB) stays below this are quarantined as silent."""
    max_quarantined_share: float = Field(default=0.1, ge=0, le=1)
    """The build fails if a larger share of the recordings is unusable."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"root", "metadata", "audio", "max_quarantined_share"})
