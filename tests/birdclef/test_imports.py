"""What the training service must not load, seen in a fresh process."""

import subprocess
import sys
from pathlib import Path

import pytest

import birdclef

ROOT = Path(birdclef.__path__[0])
MODULES = sorted(
    ".".join(("birdclef", *path.relative_to(ROOT).with_suffix("").parts))
    for path in ROOT.rglob("*.py")
    if path.stem != "__init__"
)
ORCHESTRATION = {"dask", "distributed", "prefect"}
DECODERS = {"librosa.core", "numba", "soundfile", "soxr"}
"""torchmetrics looks up librosa's version, which loads the empty shell `librosa` alone."""
SOUNDING = {
    f"birdclef.{name}"
    for name in (
        *(
            "serving.classifier",
            "serving.ensemble_classifier",
            "serving.onnx_classifier",
            "predict_recordings",
        ),  # judge new recordings
        *("report.mistakes", "report.page"),  # a report plays its worst errors
        *("export", "export_formats.model_card"),
    )
}
STAGES = [f"birdclef.{stage}" for stage in ("train", "predict", "baseline", "evaluate")]
READERS = [
    f"birdclef.{reader}"
    for reader in ("comparison.diff", "comparison.trial_scores", "export_formats.model_card", "champion", "promote")
]


@pytest.fixture(scope="module")
def loaded() -> list[set[str]]:
    """What a process holds after it has imported the stages; these and the readers; these and all but sound; all."""
    code = f"""
import os, sys
import {", ".join(STAGES)}; print(*sys.modules, flush=True)
if not os.fork():
    import {", ".join(READERS)}; print(*sys.modules, flush=True)
    os._exit(0)
os.wait()
import {", ".join(set(MODULES) - SOUNDING)}; print(*sys.modules)
import {", ".join(SOUNDING)}; print(*sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return [set(line.split()) for line in printed.splitlines()]


def test_stages_that_find_their_artefacts_pay_for_no_framework(loaded: list[set[str]]) -> None:
    assert loaded[0] >= set(STAGES)
    assert loaded[0].isdisjoint({"torch", "lightning", "timm", "sklearn", "matplotlib"})


def test_readers_of_reports_load_no_plotting(loaded: list[set[str]]) -> None:
    assert loaded[1] >= set(READERS)
    assert loaded[1].isdisjoint({"matplotlib", "sklearn", "birdclef.report.plots", "birdclef.report.page"})


def test_training_and_evaluation_load_no_orchestration_and_only_what_needs_sound_loads_decoders(
    loaded: list[set[str]],
) -> None:
    assert len(MODULES) > 60
    assert set(MODULES) > SOUNDING
    assert loaded[2].isdisjoint(DECODERS)
    assert loaded[3] >= set(MODULES)
    assert loaded[3].isdisjoint(ORCHESTRATION)
