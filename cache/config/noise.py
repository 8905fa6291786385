"""Configuration of the noise that is mixed with recordings before they are embedded."""

from typing import ClassVar, NamedTuple

from cache.config.section import ConfigSection, CountFromZero, Decibels, Frequency


class NoiseFile(NamedTuple):
    """One file of noise."""

    sha256: str
    """sha256 of the file."""
    address: str
    """Path or URL of the file."""


class NoiseMix(ConfigSection):
    """One noisy copy of every recording."""

    variant: CountFromZero
    """Number of the copy. Another number draws other noise, and other ratios."""
    background: str
    """Hash of the sha256 of all noise."""
    snr_db: tuple[Decibels, Decibels]
    """Lowest and highest ratio of a recording to its noise, dB."""
    song_hz: tuple[Frequency, Frequency]
    """Lowest and highest frequency over which the ratio is taken, Hz."""
    files: tuple[NoiseFile, ...] = ()
    """Files to draw the noise from."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"files"})  # `background` stands for their content
