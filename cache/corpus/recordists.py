"""Draws invented recordists: their homes, microphones, and the species that each of them records."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.corpus.difficulty import BACKGROUND_LEVEL_DB, GAIN_DB, NOISE_FLOOR_DB
from cache.corpus.soundscape import Microphone, Site, draw_microphone, draw_site

UNKNOWN = ""
"""Name of an unknown recordist."""

_FIRST_NAMES = (
    "Amina", "Bartosz", "Chipo", "Dineo", "Elif", "Farid", "Greta", "Hana", "Ines", "Joao", "Kwame", "Lindiwe",
    "Marek", "Naledi", "Oskar", "Paula", "Quentin", "Rosa", "Samir", "Tendai", "Ursula", "Viktor", "Wanjiru", "Yara",
)  # fmt: skip
_LAST_NAMES = (
    "Abara", "Brandvik", "Cordeiro", "Dlomo", "Ekström", "Ferreiro", "Gatluak", "Halvorsen", "Ilunga", "Jansky",
    "Kibet", "Lindqvist", "Mwale", "Nakamba", "Okello", "Petrosyan", "Rasolo", "Sithole", "Tamale", "Vandermeer",
)  # fmt: skip
_CODECS = ("ogg", "flac", "ogg", "mp3", "wav", "ogg", "flac", "ogg", "wav", "flac", "ogg", "wav", "flac", "ogg")
_SAMPLE_RATES = (32_000, 22_050, 44_100, 32_000, 48_000, 22_050, 32_000)
_STEREO_EVERY = 6


@dataclass(frozen=True)
class Recordist:
    """One author of recordings.

    Attributes:
        name: Name in the author column.
        latitude: Latitude of the home, degrees.
        longitude: Longitude of the home, degrees.
        microphone: Microphone, which colours the recordings.
        site: Site, which gives the background of the recordings.
        codec: Ending of the file names: ogg, mp3, wav or flac.
        sample_rate: Sample rate of the recordings, Hz.
        stereo: Whether the recordings have two channels.
    """

    name: str
    latitude: float
    longitude: float
    microphone: Microphone
    site: Site
    codec: str
    sample_rate: int
    stereo: bool


def draw_recordists(known: int, unknown: int, rng: np.random.Generator) -> list[Recordist]:
    """Returns recordists: first known ones, with different names, then unknown ones. Codecs and rates take turns.

    Args:
        known: Number of known recordists.
        unknown: Number of unknown recordists.
        rng: Source of randomness.
    """
    names = [f"{first} {last}" for first in _FIRST_NAMES for last in _LAST_NAMES]
    order = rng.permutation(len(names))
    recordists = []
    for index in range(known + unknown):
        name = names[order[index % len(names)]] + (f" {index // len(names) + 1}" if index >= len(names) else "")
        microphone = draw_microphone(rng.uniform(*NOISE_FLOOR_DB), GAIN_DB * rng.standard_normal(), rng)
        recordists.append(
            Recordist(
                name=name if index < known else UNKNOWN,
                latitude=round(float(rng.uniform(-8, 6)), 4),
                longitude=round(float(rng.uniform(28, 42)), 4),
                microphone=microphone,
                site=draw_site(rng.uniform(*BACKGROUND_LEVEL_DB), rng),
                codec=_CODECS[index % len(_CODECS)],
                sample_rate=_SAMPLE_RATES[index % len(_SAMPLE_RATES)],
                stereo=index % _STEREO_EVERY == _STEREO_EVERY - 1,
            )
        )
    return recordists


def assign_recordists(
    counts: list[int], genera: list[int], recordists: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Returns, for each species, the recordist of each of its recordings, (count,).

    max(3, count // 4) recordists record a species, in unequal shares; a species with fewer recordings has another
    recordist for each. The recordists with the fewest recordings so far are chosen, if possible without another species
    of the same genus. So each recordist records the same few, dissimilar species again and again.

    Args:
        counts: Number of recordings of each species.
        genera: Genus of each species.
        recordists: Number of recordists.
        rng: Source of randomness.
    """
    load = np.zeros(recordists)
    knows_genus = np.zeros((recordists, max(genera) + 1), bool)
    assigned = []
    for count, genus in zip(counts, genera, strict=True):
        portions = _split_unequally(count, min(count, recordists, max(3, count // 4)))
        cost = load + rng.uniform(0, 1, recordists) + max(counts) * knows_genus[:, genus]
        chosen = np.argsort(cost)[: len(portions)]
        load[chosen] += portions
        knows_genus[chosen, genus] = True
        assigned.append(np.repeat(chosen, portions))
    return assigned


def _split_unequally(count: int, parts: int) -> NDArray[np.int64]:
    """Returns positive integers with the sum `count`, from large to small, in proportion to 0.75^index, (parts,)."""
    weights = 0.75 ** np.arange(parts)
    portions = np.ones(parts, np.int64)
    for _ in range(count - parts):
        portions[np.argmax(weights / portions)] += 1
    return portions
