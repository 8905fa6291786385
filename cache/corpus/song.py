"""Defines the song grammars of invented birds, and renders songs as waveforms."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cache.corpus.difficulty import (
    CONTOUR_OCTAVES,
    NOTE_LEVEL_DB,
    NOTE_PITCH_OCTAVES,
    PHRASE_SLIP,
    PITCH_OCTAVES,
    TEMPO_OCTAVES,
)

_FADE_SECONDS = 0.012
_HIGHEST_SHARE_OF_RATE = 0.46  # a partial above this share of the sample rate would alias


@dataclass(frozen=True)
class Syllable:
    """The shape of one note.

    Attributes:
        contour: Pitch at equally spaced times, octaves above the song's centre.
        seconds: Duration at tempo 1.
        partials_db: Levels of the fundamental and its overtones, dB.
        warble_octaves: Depth of a fast sinusoidal change of pitch; 0: no warble.
        warble_hz: Rate of the warble.
        buzz_hz: Rate at which the loudness pulses; 0: a clear tone.
    """

    contour: tuple[float, ...]
    seconds: float
    partials_db: tuple[float, ...] = (0.0, -24.0)
    warble_octaves: float = 0.0
    warble_hz: float = 0.0
    buzz_hz: float = 0.0


@dataclass(frozen=True)
class Phrase:
    """Syllables that are sung one after another, several times.

    Attributes:
        syllables: Indices into the grammar's inventory.
        fewest: Least number of repeats.
        most: Highest number of repeats.
    """

    syllables: tuple[int, ...]
    fewest: int
    most: int


@dataclass(frozen=True)
class Grammar:
    """Everything that defines a species' song.

    Attributes:
        centre_hz: Frequency that the contours are relative to.
        inventory: Syllables of the song.
        phrases: Phrases in their order within a song.
        gap_seconds: Silence between syllables at tempo 1.
        pause_seconds: Mean silence between songs.
        tempo: Factor on the speed of a song.
        drift_octaves: Change of pitch from the song's first to its last syllable.
    """

    centre_hz: float
    inventory: tuple[Syllable, ...]
    phrases: tuple[Phrase, ...]
    gap_seconds: float
    pause_seconds: float
    tempo: float = 1.0
    drift_octaves: float = 0.0


def vary_grammar(grammar: Grammar, spread: float, rng: np.random.Generator) -> Grammar:
    """Returns the grammar of one dialect or individual, with random changes of pitch, tempo, contours and repeats.

    Args:
        grammar: Grammar to vary.
        spread: Factor on the standard deviations in `cache.corpus.difficulty`; 0 gives the same grammar.
        rng: Source of randomness.
    """
    inventory = tuple(
        replace(
            syllable,
            contour=tuple(
                float(knot + spread * CONTOUR_OCTAVES * step)
                for knot, step in zip(syllable.contour, rng.standard_normal(len(syllable.contour)), strict=True)
            ),
            seconds=float(syllable.seconds * 2 ** (0.5 * spread * TEMPO_OCTAVES * rng.standard_normal())),
        )
        for syllable in grammar.inventory
    )
    phrases = tuple(
        replace(phrase, most=max(phrase.fewest, phrase.most + round(0.7 * spread * rng.standard_normal())))
        for phrase in grammar.phrases
    )
    return replace(
        grammar,
        inventory=inventory,
        phrases=phrases,
        centre_hz=float(grammar.centre_hz * 2 ** (spread * PITCH_OCTAVES * rng.standard_normal())),
        tempo=float(grammar.tempo * 2 ** (spread * TEMPO_OCTAVES * rng.standard_normal())),
        pause_seconds=float(grammar.pause_seconds * 2 ** (0.3 * spread * rng.standard_normal())),
    )


def render_syllable(syllable: Syllable, centre_hz: float, seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """Returns the waveform of one note, (seconds * sample_rate,), within [-1, 1]."""
    samples = max(8, round(seconds * sample_rate))
    time = np.arange(samples) / sample_rate  # (samples,)
    knots = np.linspace(0, time[-1], len(syllable.contour))
    octaves = np.interp(time, knots, syllable.contour)
    if syllable.warble_octaves:
        octaves += syllable.warble_octaves * np.sin(2 * np.pi * syllable.warble_hz * time)
    frequency = centre_hz * np.exp2(octaves)
    phase = np.cumsum(frequency) * (2 * np.pi / sample_rate)
    levels = 10 ** (np.asarray(syllable.partials_db) / 20)  # (partials,)
    waveform = np.zeros(samples, np.float32)
    highest = float(frequency.max())
    for partial, level in enumerate(levels / levels.sum(), start=1):
        if partial * highest < _HIGHEST_SHARE_OF_RATE * sample_rate:
            waveform += np.float32(level) * np.sin((partial * phase).astype(np.float32))
    if syllable.buzz_hz:
        waveform *= (0.5 - 0.5 * np.cos(2 * np.pi * syllable.buzz_hz * time)).astype(np.float32)
    fade = min(_FADE_SECONDS, seconds / 3)
    edge = np.minimum(1, np.minimum(time, time[::-1]) / fade)  # (samples,)
    return waveform * (np.sin(0.5 * np.pi * edge) ** 2).astype(np.float32)


def compose_song(grammar: Grammar, rng: np.random.Generator) -> list[int]:
    """Returns one song as indices into the inventory; sometimes a phrase is left out or comes too early."""
    phrases = [phrase for phrase in grammar.phrases if rng.random() >= PHRASE_SLIP] or list(grammar.phrases)
    for index in range(len(phrases) - 1):
        if rng.random() < PHRASE_SLIP:
            phrases[index : index + 2] = phrases[index + 1], phrases[index]
    return [
        syllable
        for phrase in phrases
        for _ in range(rng.integers(phrase.fewest, phrase.most + 1))
        for syllable in phrase.syllables
    ]


def sing(grammar: Grammar, seconds: float, sample_rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns songs with pauses between them; the first song may begin late, and the end may cut the last one off.

    Args:
        grammar: Grammar of the individual.
        seconds: Length of the recording.
        sample_rate: Sample rate, Hz.
        rng: Source of randomness.

    Returns:
        Waveform, (seconds * sample_rate,), within [-1, 1].
    """
    waveform = np.zeros(round(seconds * sample_rate), np.float32)
    start = rng.uniform(0.1, 0.25 * seconds)
    while start < seconds:
        song = compose_song(grammar, rng)
        pitch = 2 ** (NOTE_PITCH_OCTAVES * rng.standard_normal(len(song)))
        pitch *= 2 ** (grammar.drift_octaves * np.linspace(-0.5, 0.5, len(song)))
        level = 10 ** (-np.abs(NOTE_LEVEL_DB * rng.standard_normal(len(song))) / 20)
        for note, index in enumerate(song):
            syllable = grammar.inventory[index]
            length = syllable.seconds / grammar.tempo
            first = round(start * sample_rate)
            sound = render_syllable(syllable, grammar.centre_hz * pitch[note], length, sample_rate)
            sound = sound[: max(0, len(waveform) - first)]
            waveform[first : first + len(sound)] += np.float32(level[note]) * sound
            start += length + grammar.gap_seconds / grammar.tempo * rng.uniform(0.85, 1.15)
        start += grammar.pause_seconds * rng.uniform(0.5, 1.5)
    return waveform
