"""What a run or a report leads on to: a classifier of new recordings, whole ensembles with all their views included."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from birdclef.calibration import calibrate
from birdclef.config import EnsembleMethod, PredictConfig
from birdclef.ensemble import combine_members
from birdclef.inference import View
from birdclef.metrics import Floats
from birdclef.model import SpeciesModel
from birdclef.onnx_classifier import load_onnx
from birdclef.weights import TrainedRun, load_run
from birdclef.windows import PLAIN_THRESHOLD, Grid, Window, WindowClassifier, cut_windows
from cache.artefact import find_artefact, read_provenance
from cache.config import FeatureConfig
from cache.streaming import stream_strip


@dataclass(frozen=True)
class Classifier:
    """Models that judge windows together.

    Attributes:
        species: Species codes in the order of class indices.
        features: The front end that strips must come from.
        clip_seconds: Length of a window.
        members: Models of each member, one per fold.
        views: How every window is seen, with the weight of each view.
        method: How members are combined.
        weights: Of the members, (members,), for a fitted combination.
        temperature: Of the calibration.
        thresholds: From which probability each species is said to be present, (classes,).
        batch_windows: Windows per forward pass.
    """

    species: Sequence[str]
    features: FeatureConfig
    clip_seconds: float
    members: Sequence[Sequence[SpeciesModel]]
    views: Sequence[tuple[View, float]]
    method: EnsembleMethod
    weights: Floats
    temperature: float
    thresholds: Floats
    batch_windows: int

    @property
    def grid(self) -> Grid:
        """How windows are cut for it."""
        rate = self.features.frames_per_second
        frames = max(1, round(self.clip_seconds * rate))
        return Grid(frames, self.clip_seconds, rate, [view.shift_frames for view, _ in self.views])

    def classify(self, recording: Path) -> Iterator[tuple[Window, Floats]]:
        """Yields the windows of a recording in order with their calibrated probabilities, (classes,).

        Raises:
            OSError, UnusableAudioError: If it does not decode; some windows may have been yielded before.
        """
        upcoming = cut_windows(stream_strip(recording, self.features), self.grid)
        while windows := list(islice(upcoming, self.batch_windows)):
            crops = torch.from_numpy(np.stack([window.crops for window in windows]))
            yield from zip(windows, self.judge(crops.transpose(2, 3)), strict=True)

    @torch.inference_mode()
    def judge(self, crops: torch.Tensor) -> Floats:
        """Returns calibrated probabilities, (windows, classes), from one forward pass per model, view and window.

        Args:
            crops: Log-mel of each view, (windows, views, n_mels, frames) in dB.
        """
        members = []
        for models in self.members:
            summed = torch.zeros(len(crops), len(self.species), dtype=torch.float64)
            for model in models:
                for number, (view, weight) in enumerate(self.views):
                    seen = view.of(crops[:, number : number + 1].to(model.mean_db.device))
                    summed += weight * model(seen).float().softmax(dim=1).cpu()
            members.append((summed / summed.sum(dim=1, keepdim=True)).numpy())
        return calibrate(combine_members(members, self.method, self.weights), self.temperature)


def load_classifier(source: Path) -> WindowClassifier:
    """Returns the classifier that a run, a report or an exported model describes.

    Of a report it has all members, the models of all their folds, all views, the fitted temperature and thresholds.

    Args:
        source: Directory of a run or a report in a workspace, or a file of `birdclef export`.

    Raises:
        ValueError: If it is neither, or the report's members are combined by rank.
        FileNotFoundError: If an artefact behind a report is gone.
    """
    if source.suffix == ".onnx":
        return load_onnx(source)
    if not (source / "provenance.json").is_file():
        raise ValueError(
            f"{source} is neither a run nor a report: give workspace/runs/KEY, workspace/reports/KEY or a .onnx file."
        )
    provenance = read_provenance(source)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if provenance["kind"] == "runs":
        run = load_run(source, device)
        views = [(View(), 1.0)]
        thresholds = np.full(len(run.species), PLAIN_THRESHOLD)
        return _assemble({"run": [run]}, views, "mean", np.ones(1), 1.0, thresholds, PredictConfig().batch_windows)
    if provenance["kind"] != "reports":
        raise ValueError(f"{source} holds {provenance['kind']}; only a run or a report can predict.")
    return _load_report(source, provenance, device)


def _load_report(source: Path, provenance: Mapping[str, Any], device: torch.device) -> Classifier:
    workspace = source.resolve().parent.parent
    report = json.loads((source / "report.json").read_text())
    method = report["ensemble"]["method"]
    if method == "rank":
        raise ValueError(
            f"{source} combines its members by rank, which needs all recordings at once. "
            "Make a report with evaluate.ensemble=mean, geometric, rms or fitted."
        )
    members: dict[str, list[TrainedRun]] = {member["name"]: [] for member in report["members"]}
    settings = PredictConfig()
    for name, key in provenance["inputs"].items():
        if name == "baseline":
            continue
        made = read_provenance(find_artefact(workspace, "predictions", key))
        settings = PredictConfig(**made["config"])
        members[name.rsplit("/", 1)[0]].append(
            load_run(find_artefact(workspace, "runs", made["inputs"]["run"]), device)
        )
    rate = next(iter(members.values()))[0].features.frames_per_second
    seen = list(product(settings.shift_seconds, settings.gain_db, settings.shift_bands))
    weights = settings.view_weights or (1.0,) * len(seen)
    views = [
        (View(round(shift * rate), gain, bands), weight)
        for (shift, gain, bands), weight in zip(seen, weights, strict=True)
    ]
    return _assemble(
        members,
        views,
        method,
        np.array([report["ensemble"]["weights"][name] for name in members]),
        report["calibration"]["temperature"],
        np.array([species["threshold"] for species in report["per_species"]]),
        settings.batch_windows,
    )


def _assemble(
    members: Mapping[str, Sequence[TrainedRun]],
    views: Sequence[tuple[View, float]],
    method: EnsembleMethod,
    weights: Floats,
    temperature: float,
    thresholds: Floats,
    batch_windows: int,
) -> Classifier:
    """Returns a classifier of runs that share species, front end and length of windows.

    Raises:
        ValueError: If they do not; the first differing member is named.
    """
    runs = [(name, run) for name, of_member in members.items() for run in of_member]
    first_name, first = runs[0]
    for name, run in runs:
        if (run.species, run.features, run.clip_seconds) != (first.species, first.features, first.clip_seconds):
            raise ValueError(
                f"The members {first_name!r} and {name!r} differ in species, features or clip_seconds, and so see no "
                "common window. Predict with a report whose members share them, or with one run."
            )
    return Classifier(
        first.species,
        first.features,
        first.clip_seconds,
        [[run.model for run in of_member] for of_member in members.values()],
        views,
        method,
        weights,
        temperature,
        thresholds,
        batch_windows,
    )
