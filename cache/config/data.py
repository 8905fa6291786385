"""Configuration of the data set."""

from typing import ClassVar

from pydantic import Field

from cache.config.section import ConfigSection


class DataConfig(ConfigSection):
    """Where the recordings are, and which of them are usable."""

    root: str = Field(min_length=1)
    """Folder that holds the metadata table and the audio folder."""
    metadata: str = Field(default="train_metadata.csv", min_length=1)
    """CSV table with one row per recording; path relative to `root`."""
    audio: str = "train_audio"
    """Audio folder, path relative to `root`. The table's `filename` column is relative to this folder."""
    background: str | None = None
    """Folder or URL with sounds in which no species of the data set is heard, such as wind, rain and traffic. Training
    mixes them with the recordings; null: there are no such sounds. The folder needs no table, and may have folders
    inside."""
    min_seconds: float = Field(default=0.5, gt=0, le=3600)
    """Recordings shorter than this are quarantined."""
    silence_db: float = Field(default=-60.0, ge=-1000, le=1000)
    """Recordings are quarantined as silent if their highest mel power, in dB, is below this."""
    max_quarantined_share: float = Field(default=0.1, ge=0, le=1)
    """The build fails if more than this share of the recordings is quarantined, 0 to 1."""

    execution_fields: ClassVar[frozenset[str]] = frozenset(
        {"root", "metadata", "audio", "background", "max_quarantined_share"}
    )
