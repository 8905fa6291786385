"""Every number that makes the generated corpus easier or harder to classify, in one place.

Raise `cache.synth.VERSION` when one of the numbers changes. The spreads of dialects and individuals make species of one
genus more similar. The level ranges set how far songs stand above the background. The numbers of microphones and
backgrounds set how much a recordist's own sound reveals, and so how optimistic a plain random split is.
"""

# Standard deviations of a population (recordist and species) and of an individual (recording) from the species' song.
# A population's dialect scales them by DIALECT_SPREAD, an individual by INDIVIDUAL_SPREAD.
PITCH_OCTAVES = 0.05
TEMPO_OCTAVES = 0.1
CONTOUR_OCTAVES = 0.03
DIALECT_SPREAD = 1.0
INDIVIDUAL_SPREAD = 0.7

# Standard deviations of one note and one song from the individual's usual ones.
NOTE_PITCH_OCTAVES = 0.012
NOTE_LEVEL_DB = 2.0
PHRASE_SLIP = 0.08
"""Probability that a phrase of a song is left out, and probability that it changes places with the next phrase."""

# Levels at the microphone.
SONG_LEVEL_DB = (-28.0, -14.0)
"""Range of the peak level of the primary bird, from far to close; uniform, dB re full scale."""
SECONDARY_LEVEL_DB = (-18.0, -10.0)
"""Range of the level of a secondary species relative to the primary species, dB."""
SECONDARY_SHARE = 0.15
"""Share of the recordings in which a secondary species sings."""
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
