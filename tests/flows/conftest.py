"""A small generated corpus, the demo experiment cut down to seconds, and the command line as a process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.synth import CorpusPlan, synthesize_corpus

PROJECT = Path(__file__).resolve().parents[2]

Birdclef = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = CorpusPlan(species=20, recordings=80, seed=1, min_seconds=1.0, max_seconds=3.0)
    return synthesize_corpus(tmp_path_factory.mktemp("data") / "corpus", plan)


@pytest.fixture(scope="session")
def tiny_overrides(corpus: Path) -> list[str]:
    return [
        f"data.root={corpus}",
        "features.n_mels=32",
        "split.folds=2",
        "train.*.epochs=1",
        "train.*.clip_seconds=1",
        "train.*.model.backbone=test_efficientnet",
        "evaluate.bootstrap_samples=20",
        "evaluate.permutations=5",
        "evaluate.worst_errors=1",
    ]


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a Prefect home of its own and no server set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "BIRDCLEF_"))}
    return {**kept, "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect"))}


@pytest.fixture(scope="session")
def birdclef(prefect_environment: dict[str, str]) -> Birdclef:
    """Runs `birdclef ARGUMENTS...` from the project's folder and returns the finished process."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=PROJECT,
            env={**prefect_environment, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return call
