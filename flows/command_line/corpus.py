"""`birdclef synth`: a corpus of synthetic bird song."""

from pathlib import Path
from typing import Annotated

import typer

from cache.corpus.difficulty import STANDARD
from cache.workspace.urls import expand_home


def synth(
    directory: Annotated[Path, typer.Argument(help="Folder to make.", parser=expand_home)],
    species: Annotated[int, typer.Option(help="Number of species, 20 to 96.")] = 24,
    recordings: Annotated[int, typer.Option(help="Number of recordings, at least three per species.")] = 240,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    difficulty: Annotated[
        str,
        typer.Option(
            help="standard, or hard: longer recordings, weaker songs, stronger dialects, more second species."
        ),
    ] = STANDARD,
) -> None:
    """Generate a corpus of synthetic bird song in the BirdCLEF layout."""
    from cache.synth import CorpusPlan, synthesize_corpus

    plan = CorpusPlan(species=species, recordings=recordings, seed=seed, difficulty=difficulty)
    typer.echo(synthesize_corpus(directory, plan))
