"""The help of `birdclef synth` states what the corpus accepts, and its options reach the corpus."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cache.corpus.difficulty import DIFFICULTIES
from cache.synth import VERSION, CorpusPlan
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


def test_help_states_each_difficulty_and_the_default() -> None:
    text = " ".join(CliRunner().invoke(app, ["synth", "--help"], env={"COLUMNS": "200"}).stdout.split())
    assert all(re.search(rf"\b{name}\b", text) for name in DIFFICULTIES)
    assert "[default: standard]" in text


def test_difficulty_reaches_the_corpus(tmp_path: Path) -> None:
    """The folder holds a hard corpus already, so the command for the same plan succeeds, and no other does."""
    (tmp_path / "hard").mkdir()
    plan = {"species": 20, "recordings": 60, "seed": 0, "min_seconds": 14.0, "max_seconds": 34.0, "difficulty": "hard"}
    (tmp_path / "hard" / "synth.json").write_text(json.dumps({"version": VERSION, "plan": plan}))
    size = ["synth", str(tmp_path / "hard"), "--species", "20", "--recordings", "60"]
    assert CliRunner().invoke(app, [*size, "--difficulty", "hard"]).exit_code == 0
    assert isinstance(CliRunner().invoke(app, size).exception, FileExistsError)


def test_mistyped_difficulty_is_refused_with_the_near_word(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["synth", str(tmp_path / "corpus"), "--difficulty", "hrad"])
    assert refused.exit_code == 1
    assert "did you mean hard?" in str(refused.exception)
    assert not (tmp_path / "corpus").exists()
