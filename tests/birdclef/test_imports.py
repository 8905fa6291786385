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


def loaded_by(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(printed.split())


def test_training_and_evaluation_load_no_orchestration() -> None:
    assert len(MODULES) > 60
    assert loaded_by(*MODULES).isdisjoint(ORCHESTRATION)


def test_only_what_needs_sound_loads_decoders() -> None:
    assert set(MODULES) > SOUNDING
    assert loaded_by(*(set(MODULES) - SOUNDING)).isdisjoint(DECODERS)


@pytest.mark.parametrize("stage", ["train", "predict", "baseline", "evaluate"])
def test_a_stage_that_finds_its_artefact_pays_for_no_framework(stage: str) -> None:
    assert loaded_by(f"birdclef.{stage}").isdisjoint({"torch", "lightning", "timm", "sklearn", "matplotlib"})


@pytest.mark.parametrize(
    "reader", ["comparison.diff", "comparison.trial_scores", "export_formats.model_card", "champion", "promote"]
)
def test_a_reader_of_reports_loads_no_plotting(reader: str) -> None:
    loaded = loaded_by(f"birdclef.{reader}")
    assert loaded.isdisjoint({"matplotlib", "sklearn", "birdclef.report.plots", "birdclef.report.page"})
