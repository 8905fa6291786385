"""Generates a corpus in BirdCLEF's layout: recordings of invented species, as hard as real ones, without any data."""

import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cache.corpus.difficulty import STANDARD, find_difficulty
from cache.corpus.recording import PlannedRecording, encode_audio, render_recording, seeded_generator
from cache.corpus.recordists import assign_recordists, draw_recordists
from cache.corpus.species import MAX_SPECIES, Species, species_table
from cache.workspace.atomic_files import move_atomically

VERSION = 1
"""Version of the corpus; raised by hand when the same plan gives another corpus."""

STAMP = "synth.json"
"""File beside the table that states the plan and version of the corpus."""

MIN_SPECIES = 20
_RECORDINGS_PER_SPECIES = 3
_RECORDINGS_PER_RECORDIST = 8
_UNKNOWN_RECORDISTS = 2
_ZIPF_EXPONENT = 0.8
_LAYOUT = 0  # stream of randomness


@dataclass(frozen=True)
class CorpusPlan:
    """Size, seed, lengths and difficulty of a corpus to generate.

    Attributes:
        species: Number of species, 20 to 96.
        recordings: Number of recordings, at least three per species.
        seed: Seed of recordists, counts and recordings. The species and their songs are the same for every seed.
        min_seconds: Length of the shortest recording, at least 1; 0 takes the usual length of the difficulty.
        max_seconds: Length of the longest recording; 0 takes the usual length of the difficulty.
        difficulty: One of `cache.corpus.difficulty.DIFFICULTIES`.

    Raises:
        ValueError: If a number is out of its range, or the difficulty is not known.
    """

    species: int = 24
    recordings: int = 240
    seed: int = 0
    min_seconds: float = 0.0
    max_seconds: float = 0.0
    difficulty: str = STANDARD

    def __post_init__(self) -> None:
        usual = find_difficulty(self.difficulty)
        # A frozen record sets its own fields in this way only.
        object.__setattr__(self, "min_seconds", self.min_seconds or usual.min_seconds)
        object.__setattr__(self, "max_seconds", self.max_seconds or usual.max_seconds)
        if not MIN_SPECIES <= self.species <= MAX_SPECIES:
            raise ValueError(f"species={self.species} is out of range: set it from {MIN_SPECIES} to {MAX_SPECIES}.")
        if self.recordings < _RECORDINGS_PER_SPECIES * self.species:
            raise ValueError(
                f"recordings={self.recordings} is too small for species={self.species}: set at least "
                f"recordings={_RECORDINGS_PER_SPECIES * self.species}, or fewer species."
            )
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative: set 0 or more.")
        if not 1 <= self.min_seconds <= self.max_seconds:
            raise ValueError(
                f"Recordings from {self.min_seconds:g} to {self.max_seconds:g} s cannot be made: the shortest must "
                "last at least 1 s, and not longer than the longest."
            )

    def describe(self) -> str:
        """Returns the settings that the command line takes: `species=24 recordings=240 seed=0 …`."""
        return f"species={self.species} recordings={self.recordings} seed={self.seed} difficulty={self.difficulty}"


def synthesize_corpus(directory: Path, plan: CorpusPlan) -> Path:
    """Generates a corpus; returns `directory`, with train_metadata.csv, train_audio/<label>/<file> and synth.json.

    An interrupted run leaves no incomplete corpus: the files are written to a sibling folder, which is renamed at the
    end. If the directory already holds the corpus of this plan, nothing is written. The same plan gives the same bytes
    with the same versions of numpy, scipy and libsndfile.

    Raises:
        FileExistsError: If `directory` holds other files.
    """
    target = directory.resolve()
    if _holds_corpus(target, plan):
        return directory
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(
            f"{directory} exists, but does not hold the corpus of {plan.describe()} (version {VERSION}). "
            "Name a new or empty folder, or remove this one."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        staging = Path(folder) / "corpus"
        _write_corpus(staging, plan)
        try:
            move_atomically(staging, target)
        except OSError:
            if not _holds_corpus(target, plan):  # unless another process finished the same corpus before
                raise
    return directory


def zipf_counts(species: int, recordings: int) -> list[int]:
    """Returns the number of recordings of each species, from most to fewest, (species,).

    The numbers are in proportion to rank^-0.8, but at least three; the last two species get two. Each further recording
    goes to the species with the highest weight per recording (the method of D'Hondt).
    """
    weights = np.arange(1, species + 1) ** -_ZIPF_EXPONENT
    counts = np.full(species, _RECORDINGS_PER_SPECIES)
    counts[-2:] = 2
    for _ in range(recordings - int(counts.sum())):
        counts[np.argmax(weights / (counts + 1))] += 1
    return [int(count) for count in counts]


def plan_recordings(plan: CorpusPlan) -> list[PlannedRecording]:
    """Returns the recordist and the species of each recording, sorted by species; two recordists are unknown."""
    rng = seeded_generator(plan.seed, _LAYOUT)
    species = species_table(plan.species)
    counts = zipf_counts(plan.species, plan.recordings)
    by_frequency = [species[index] for index in rng.permutation(plan.species)]
    known = max(10, plan.recordings // _RECORDINGS_PER_RECORDIST)
    recordists = draw_recordists(known, _UNKNOWN_RECORDISTS, rng)
    assigned = assign_recordists(counts, [one.genus for one in by_frequency], known, rng)
    for rank in range(_UNKNOWN_RECORDISTS):  # taken from the commonest species, which have enough recordings
        assigned[rank][0] = known + rank
    pairs = [(one, int(who)) for one, authors in zip(by_frequency, assigned, strict=True) for who in authors]
    pairs.sort(key=lambda pair: (pair[0].label, pair[1]))
    difficulty, seconds_range = find_difficulty(plan.difficulty), (plan.min_seconds, plan.max_seconds)
    return [
        PlannedRecording(index, plan.seed, difficulty, seconds_range, one, recordists[who], who)
        for index, (one, who) in enumerate(pairs)
    ]


def _write_corpus(directory: Path, plan: CorpusPlan) -> None:
    write = partial(_write_recording, directory / "train_audio", species_table(plan.species))
    with ThreadPoolExecutor(
        os.cpu_count()
    ) as pool:  # threads run in parallel, because numpy, scipy and libsndfile release the GIL
        rows = list(pool.map(write, plan_recordings(plan)))
    pd.DataFrame(rows).to_csv(directory / "train_metadata.csv", index=False)
    (directory / STAMP).write_text(json.dumps(_stamp(plan), indent=2) + "\n")


def _write_recording(audio: Path, table: tuple[Species, ...], planned: PlannedRecording) -> dict[str, object]:
    """Writes one file below the audio folder; returns its row of the table."""
    others = tuple(species for species in table if species != planned.species)
    channels, row = render_recording(planned, others)
    path = audio / str(row["filename"])
    path.parent.mkdir(parents=True, exist_ok=True)
    recordist = planned.recordist
    path.write_bytes(encode_audio(channels, recordist.sample_rate, recordist.codec, serial=planned.index))
    return row


def _stamp(plan: CorpusPlan) -> dict[str, object]:
    settings = asdict(plan)
    if plan.difficulty == STANDARD:
        del settings["difficulty"]  # so that the stamps of corpora from before there were difficulties still match
    return {"version": VERSION, "plan": settings}


def _holds_corpus(directory: Path, plan: CorpusPlan) -> bool:
    try:
        return bool(json.loads((directory / STAMP).read_text()) == _stamp(plan))
    except (OSError, ValueError):
        return False
