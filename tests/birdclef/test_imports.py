"""What the training service must not load, seen in a fresh process."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

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


def loaded_by(*groups: Iterable[str]) -> list[set[str]]:
    """Returns what a fresh process holds after it has imported each group of modules, one after the other."""
    code = "import sys\n" + "\n".join(f"import {', '.join(group)}; print(*sys.modules)" for group in groups)
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return [set(line.split()) for line in printed.splitlines()]


def test_training_and_evaluation_load_no_orchestration_and_only_what_needs_sound_loads_decoders() -> None:
    assert len(MODULES) > 60
    assert set(MODULES) > SOUNDING
    silent, all_modules = loaded_by(set(MODULES) - SOUNDING, SOUNDING)
    assert silent.isdisjoint(DECODERS)
    assert all_modules > set(MODULES)
    assert all_modules.isdisjoint(ORCHESTRATION)


def test_stages_that_find_their_artefacts_pay_for_no_framework() -> None:
    (loaded,) = loaded_by(f"birdclef.{stage}" for stage in ("train", "predict", "baseline", "evaluate"))
    assert loaded.isdisjoint({"torch", "lightning", "timm", "sklearn", "matplotlib"})


def test_readers_of_reports_load_no_plotting() -> None:
    readers = ("comparison.diff", "comparison.trial_scores", "export_formats.model_card", "champion", "promote")
    (loaded,) = loaded_by(f"birdclef.{reader}" for reader in readers)
    assert loaded.isdisjoint({"matplotlib", "sklearn", "birdclef.report.plots", "birdclef.report.page"})
