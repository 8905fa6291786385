"""Every number that makes the generated corpus easier or harder to classify, in one place.

Raise `cache.synth.VERSION` when one of the numbers changes. The spreads of dialects and individuals make species of one
genus more similar. The level ranges set how far songs stand above the background. The numbers of microphones and
backgrounds set how much a recordist's own sound reveals, and so how optimistic a plain random split is.

A difficulty holds the numbers in which the corpora differ. All other numbers are the same in every corpus.
"""

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Difficulty:
    """The numbers in which an easier and a harder corpus differ.

    Attributes:
        min_seconds: Usual length of the shortest recording.
        max_seconds: Usual length of the longest recording.
        song_level_db: Range of the peak level of the primary bird, from far to close; uniform, dB re full scale.
        dialect_spread: Factor on the standard deviations of a population (recordist and species).
        secondary_share: Share of the recordings in which a secondary species sings.
    """

    min_seconds: float
    max_seconds: float
    song_level_db: tuple[float, float]
    dialect_spread: float
    secondary_share: float


STANDARD = "standard"
DIFFICULTIES = {
    STANDARD: Difficulty(
        min_seconds=5.0, max_seconds=11.0, song_level_db=(-28.0, -14.0), dialect_spread=1.0, secondary_share=0.15
    ),
    "hard": Difficulty(
        min_seconds=14.0, max_seconds=34.0, song_level_db=(-34.0, -20.0), dialect_spread=1.6, secondary_share=0.35
    ),
}
"""Every difficulty by its name; the first is the default."""

# Standard deviations of a population (recordist and species) and of an individual (recording) from the species' song.
# A population's dialect scales them by `Difficulty.dialect_spread`, an individual by INDIVIDUAL_SPREAD.
PITCH_OCTAVES = 0.05
TEMPO_OCTAVES = 0.1
CONTOUR_OCTAVES = 0.03
INDIVIDUAL_SPREAD = 0.7

# Standard deviations of one note and one song from the individual's usual ones.
NOTE_PITCH_OCTAVES = 0.012
NOTE_LEVEL_DB = 2.0
PHRASE_SLIP = 0.08
"""Probability that a phrase of a song is left out, and probability that it changes places with the next phrase."""

# Levels at the microphone.
SECONDARY_LEVEL_DB = (-18.0, -10.0)
"""Range of the level of a secondary species relative to the primary species, dB."""
FAR_LOW_PASS_HZ = (3500.0, 14000.0)
"""Corner frequency of the air's low-pass, for the farthest and for the closest song."""
REVERBERATION_SECONDS = (0.05, 0.35)
"""Time in which the echo falls by 60 dB, for the closest and for the farthest song."""

# Recordists.
BACKGROUND_LEVEL_DB = (-56.0, -44.0)
"""Range of the RMS level of a recordist's usual background, dB re full scale."""
BACKGROUND_DRIFT_DB = 2.0
"""Standard deviation of the background's level between recordings of one recordist."""
COLOUR_DB = 2.5
"""Standard deviation of a microphone's response at steps of about 0.4 octaves, before smoothing."""
TILT_DB_PER_OCTAVE = 1.0
"""Standard deviation of the slope of a microphone's response."""
LOW_PASS_HZ = (9000.0, 15000.0)
"""Range of the frequency above which a microphone records nothing."""
NOISE_FLOOR_DB = (-76.0, -58.0)
"""Range of the RMS level of a recorder's own white noise, dB re full scale."""
GAIN_DB = 3.0
"""Standard deviation of a recorder's gain."""


def find_difficulty(name: str) -> Difficulty:
    """Returns the difficulty of a name.

    Raises:
        ValueError: If no difficulty has the name.
    """
    if name in DIFFICULTIES:
        return DIFFICULTIES[name]
    near = get_close_matches(name, DIFFICULTIES, n=1)
    meant = f"; did you mean {near[0]}?" if near else "."
    raise ValueError(f"difficulty={name} is not known{meant} Set {' or '.join(DIFFICULTIES)}.")
