"""Makes one recording of the generated corpus: its sound, its row of the table and the bytes of its file."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from cache.audio.ogg import fix_serial
from cache.corpus.difficulty import BACKGROUND_DRIFT_DB, INDIVIDUAL_SPREAD, SECONDARY_LEVEL_DB, Difficulty
from cache.corpus.recordists import Recordist
from cache.corpus.song import sing, vary_grammar
from cache.corpus.soundscape import move_away, record, render_background
from cache.corpus.species import Species

_DIALECT, _RECORDING = 1, 2  # keys of the random streams of a dialect and of a recording
_FORMATS = {
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
}
_BLOCK_SAMPLES = 65_536  # per write, because libsndfile's Vorbis encoder keeps a whole write on the stack


@dataclass(frozen=True)
class PlannedRecording:
    """The plan of one recording. Sound and row depend on this plan only, not on other recordings.

    Attributes:
        index: Row of the recording in the table.
        seed: Seed of the corpus.
        difficulty: How far songs stand out, how much they vary, and how often a second species sings.
        seconds_range: Shortest and longest duration, s.
        species: Species that sings.
        recordist: Recordist.
        recordist_index: Number of the recordist.
    """

    index: int
    seed: int
    difficulty: Difficulty
    seconds_range: tuple[float, float]
    species: Species
    recordist: Recordist
    recordist_index: int


def render_recording(
    planned: PlannedRecording, others: tuple[Species, ...]
) -> tuple[NDArray[np.float32], dict[str, object]]:
    """Returns the sound of one recording and its row of the table.

    Args:
        planned: Plan of the recording.
        others: Other species; one of them may sing in the background.

    Returns:
        Sound, (samples, channels) within [-1, 1] at the recordist's sample rate, and the value of each column.
    """
    rng = seeded_generator(planned.seed, _RECORDING, planned.index)
    recordist, seconds = planned.recordist, rng.uniform(*planned.seconds_range)
    nearness = rng.uniform()
    far_db, close_db = planned.difficulty.song_level_db
    level_db = far_db + nearness * (close_db - far_db)
    sound = _hear(planned, planned.species, seconds, (level_db, nearness), rng)  # (samples,)
    secondary = []
    if rng.random() < planned.difficulty.secondary_share:
        other = others[rng.integers(len(others))]
        secondary = [other.label]
        sound += _hear(planned, other, seconds, (level_db + rng.uniform(*SECONDARY_LEVEL_DB), 0.3 * nearness), rng)
    background = render_background(recordist.site, len(sound), recordist.sample_rate, rng)
    sound += np.float32(10 ** (BACKGROUND_DRIFT_DB * rng.standard_normal() / 20)) * background
    left = record(sound, recordist.microphone, recordist.sample_rate, rng)
    channels = left[:, None]  # (samples, 1)
    if recordist.stereo:
        hiss = rng.standard_normal(len(left), np.float32)
        hiss *= np.float32(10 ** (recordist.microphone.noise_floor_db / 20))
        channels = np.stack([left, np.clip(0.8 * left + hiss, -1, 1)], axis=1)  # (samples, 2)
    return channels, _describe(planned, secondary, nearness, rng)


def encode_audio(channels: NDArray[np.float32], sample_rate: int, codec: str, serial: int) -> bytes:
    """Returns the bytes of an audio file.

    Args:
        channels: Sound, (samples, channels) within [-1, 1].
        sample_rate: Sample rate, Hz.
        codec: ogg, mp3, wav or flac.
        serial: Serial number of the stream in an Ogg file.
    """
    container, subtype = _FORMATS[codec]
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", samplerate=sample_rate, channels=channels.shape[1], format=container, subtype=subtype
    ) as file:
        for start in range(0, len(channels), _BLOCK_SAMPLES):
            file.write(channels[start : start + _BLOCK_SAMPLES])
    return fix_serial(stream.getvalue(), serial) if codec == "ogg" else stream.getvalue()


def seeded_generator(seed: int, *key: int) -> np.random.Generator:
    """Returns the random generator of a key; its numbers do not depend on what other generators drew."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _hear(
    planned: PlannedRecording,
    species: Species,
    seconds: float,
    distance: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Returns the sound of one individual at a distance, (samples,).

    Args:
        planned: Plan of the recording.
        species: Species of the individual.
        seconds: Length of the recording.
        distance: Level in dB, and nearness: 0 far, 1 close.
        rng: Source of randomness.
    """
    dialect_rng = seeded_generator(planned.seed, _DIALECT, planned.recordist_index, species.number)
    dialect = vary_grammar(species.grammar, planned.difficulty.dialect_spread, dialect_rng)
    individual = vary_grammar(dialect, INDIVIDUAL_SPREAD, rng)
    sample_rate, (level_db, nearness) = planned.recordist.sample_rate, distance
    heard = move_away(sing(individual, seconds, sample_rate, rng), sample_rate, nearness, rng)
    return np.float32(10 ** (level_db / 20)) * heard


def _describe(
    planned: PlannedRecording, secondary: list[str], nearness: float, rng: np.random.Generator
) -> dict[str, object]:
    """Returns the row of the table, with the columns in BirdCLEF's order."""
    species, recordist = planned.species, planned.recordist
    return {
        "primary_label": species.label,
        "secondary_labels": str(secondary),
        "type": "['song']",
        "latitude": round(recordist.latitude + rng.uniform(-0.2, 0.2), 4),
        "longitude": round(recordist.longitude + rng.uniform(-0.2, 0.2), 4),
        "scientific_name": species.scientific_name,
        "common_name": species.common_name,
        "author": recordist.name,
        "license": "CC0-1.0",
        "rating": float(np.clip(round(2 * (1.5 + 3.5 * nearness + 0.7 * rng.standard_normal())) / 2, 0, 5)),
        "url": "",
        "filename": f"{species.label}/SX{planned.index:06d}.{recordist.codec}",
    }
