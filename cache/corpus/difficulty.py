"""Every number that makes the generated corpus easier or harder to classify, in one place.

Raise `cache.synth.VERSION` when one of them changes. What each knob moves: the individual and dialect spreads blur
species of one genus into each other; the level ranges set how far songs stand above the background; the colour and
background numbers set how much a recordist's own sound tells, and so how optimistic a plain random split is.
"""

# How one population (recordist and species) and one individual (recording) depart from the species' song: standard
# deviations. A dialect scales them by DIALECT_SPREAD, an individual by INDIVIDUAL_SPREAD.
PITCH_OCTAVES = 0.05
TEMPO_OCTAVES = 0.1
CONTOUR_OCTAVES = 0.03
DIALECT_SPREAD = 1.0
INDIVIDUAL_SPREAD = 0.7

# How one note, and one song, departs from the individual's usual one.
NOTE_PITCH_OCTAVES = 0.012
NOTE_LEVEL_DB = 2.0
PHRASE_SLIP = 0.08
"""Chance that a phrase of a song is left out, and that it changes places with the next one."""

# Levels at the microphone.
SONG_LEVEL_DB = (-28.0, -14.0)
"""Peak level of the nearest bird, dB re full scale, uniform: from far to close."""
SECONDARY_LEVEL_DB = (-18.0, -10.0)
"""Level of a secondary species below the primary one."""
SECONDARY_SHARE = 0.15
"""Share of the recordings in which a secondary species sings."""
FAR_LOW_PASS_HZ = (3500.0, 14000.0)
"""Corner of the air's low-pass for the farthest and the closest song."""
REVERBERATION_SECONDS = (0.05, 0.35)
"""Time in which the echo falls by 60 dB, shortest and longest."""

# Recordists.
BACKGROUND_LEVEL_DB = (-56.0, -44.0)
"""RMS level of a recordist's usual background, dB re full scale."""
BACKGROUND_DRIFT_DB = 2.0
"""Standard deviation of that level from recording to recording."""
COLOUR_DB = 2.5
"""Standard deviation of the microphone's response at each third of an octave or so, before smoothing."""
TILT_DB_PER_OCTAVE = 1.0
"""Standard deviation of the microphone's tilt."""
LOW_PASS_HZ = (9000.0, 15000.0)
"""Range of the corner above which a microphone is deaf."""
NOISE_FLOOR_DB = (-76.0, -58.0)
"""Range of the recorder's own white noise, dB re full scale."""
GAIN_DB = 3.0
"""Standard deviation of the recorder's gain."""
