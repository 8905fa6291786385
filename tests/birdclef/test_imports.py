"""What the training service must not load, seen in a fresh process."""

import subprocess
import sys
from collections.abc import Iterable
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
READERS = [f"birdclef.{reader}" for reader in ("comparison.diff", "comparison.trial_scores", "champion", "promote")]


def import_in_turn(*groups: Iterable[str]) -> list[set[str]]:
    """Returns what a new process holds after each group of modules that it imports."""
    code = "import sys\n" + "".join(f"import {', '.join(group)}; print(*sys.modules)\n" for group in groups)
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return [set(line.split()) for line in printed.splitlines()]


def test_stages_that_find_their_artefacts_and_readers_of_reports_pay_for_no_framework() -> None:
    stages, readers = import_in_turn(STAGES, READERS)
    assert stages >= set(STAGES)
    assert stages.isdisjoint({"torch", "lightning", "timm", "sklearn", "matplotlib"})
    assert readers >= set(READERS)
    assert readers.isdisjoint({"matplotlib", "sklearn", "birdclef.report.plots", "birdclef.report.page"})


@pytest.mark.soak  # it takes 20 s to import them all
def test_training_and_evaluation_load_no_orchestration_and_only_what_needs_sound_loads_decoders() -> None:
    assert len(MODULES) > 60
    assert set(MODULES) > SOUNDING
    silent, everything = import_in_turn(set(MODULES) - SOUNDING, SOUNDING)
    assert silent.isdisjoint(DECODERS)
    assert everything >= set(MODULES)
    assert everything.isdisjoint(ORCHESTRATION)
