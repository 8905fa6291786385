"""The help of `birdclef synth` states what the corpus accepts."""

import re

import pytest
from typer.testing import CliRunner

from cache.synth import CorpusPlan
from flows.command_line.app import app


def test_help_states_the_numbers_of_species_that_are_accepted() -> None:
    text = " ".join(CliRunner().invoke(app, ["synth", "--help"], env={"COLUMNS": "200"}).stdout.split())
    stated = re.search(r"Number of species, (\d+) to (\d+)\.", text)
    assert stated
    fewest, most = map(int, stated.groups())
    for species in (fewest, most):
        assert CorpusPlan(species=species, recordings=3 * species).species == species
    for species in (fewest - 1, most + 1):
        with pytest.raises(ValueError, match=f"set it from {fewest} to {most}"):
            CorpusPlan(species=species, recordings=3 * species)
