"""What a run or a report leads on to: a classifier of new recordings, whole ensembles with all their views included."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product, zip_longest
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from birdclef.config.evaluate import EnsembleMethod
from birdclef.config.predict import PredictConfig
from birdclef.inference.views import View
from birdclef.metrics.calibration import calibrate
from birdclef.metrics.classification import Floats
from birdclef.model.network import SpeciesModel
from birdclef.model.trained_run import TrainedRun, load_run
from birdclef.scores.ensemble import combine_members
from birdclef.serving.onnx_classifier import load_onnx
from birdclef.serving.windows import PLAIN_THRESHOLD, Grid, Window, WindowClassifier, cut_windows
from cache.audio.decoded_length import Heard
from cache.config.features import FeatureConfig
from cache.front_end.kinds import stream_strip
from cache.workspace.artefact import read_provenance
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace


@dataclass(frozen=True)
class Member:
    """Models of one member, one per fold, and what they look at.

    Attributes:
        models: In eval mode.
        features: The front end that strips must come from.
        store: Feature directory, which holds an embedding model, if there is one.
        views: How every window is seen, with the weight of each view.
    """

    models: Sequence[SpeciesModel]
    features: FeatureConfig
    store: FeatureDirectory
    views: Sequence[tuple[View, float]]

    def grid(self, clip_seconds: float) -> Grid:
        """Returns how windows of a length are cut for it."""
        rate = self.features.frames_per_second
        shifts = [view.shift_frames for view, _ in self.views]
        return Grid(max(1, round(clip_seconds * rate)), clip_seconds, rate, shifts)

    def judge(self, crops: torch.Tensor) -> Floats:
        """Returns probabilities, (windows, classes), from one forward pass per model, view and window.

        Args:
            crops: Of each view, (windows, views, channels, frames).
        """
        summed = torch.zeros(1, dtype=torch.float64)
        for model in self.models:
            for number, (view, weight) in enumerate(self.views):
                seen = view.of(crops[:, number : number + 1].to(model.mean_db.device))
                summed = summed + weight * model(seen).float().softmax(dim=1).cpu()
        probabilities: Floats = (summed / summed.sum(dim=1, keepdim=True)).numpy()
        return probabilities


@dataclass(frozen=True)
class Classifier:
    """Members that judge windows together.

    Attributes:
        species: Species codes in the order of class indices.
        clip_seconds: Length of a window.
        members: Of the ensemble.
        method: How members are combined.
        weights: Of the members, (members,), for a fitted combination.
        temperature: Of the calibration.
        thresholds: From which probability each species is said to be present, (classes,).
        batch_windows: Windows per forward pass.
    """

    species: Sequence[str]
    clip_seconds: float
    members: Sequence[Member]
    method: EnsembleMethod
    weights: Floats
    temperature: float
    thresholds: Floats
    batch_windows: int

    @property
    def features(self) -> FeatureConfig:
        """The front end of the first member."""
        return self.members[0].features

    def classify(self, recording: Path, heard: Heard) -> Iterator[tuple[Window, Floats]]:
        """Yields the windows of a recording in order with their calibrated probabilities, (classes,).

        Members with the same front end share its strip; `heard` is told how much was decoded.

        Raises:
            OSError, UnusableAudioError: If it does not decode; some windows may have been yielded before.
        """
        grids = {(member.features, member.store): member.grid(self.clip_seconds) for member in self.members}
        place_of = [list(grids).index((member.features, member.store)) for member in self.members]
        streams = [
            cut_windows(stream_strip(recording, *front_end, heard), grid, heard) for front_end, grid in grids.items()
        ]
        upcoming = side_by_side(streams)
        while windows := list(islice(upcoming, self.batch_windows)):
            crops = [
                torch.from_numpy(np.stack([window.crops for window in column])).transpose(2, 3)
                for column in zip(*windows, strict=True)
            ]
            judged = self._judge([crops[place] for place in place_of])
            yield from zip(map(_latest, windows), judged, strict=True)

    @torch.inference_mode()
    def _judge(self, crops: Sequence[torch.Tensor]) -> Floats:
        """Returns calibrated probabilities, (windows, classes), of each member's crops."""
        members = [member.judge(seen) for member, seen in zip(self.members, crops, strict=True)]
        return calibrate(combine_members(members, self.method, self.weights), self.temperature)


def side_by_side(streams: Sequence[Iterator[Window]]) -> Iterator[tuple[Window, ...]]:
    """Yields the same window of several streams, until all have ended; one that ended early repeats its last window.

    Steps of one front end may be coarser than those of another, so that its last window is the end of the recording.
    """
    last: tuple[Window | None, ...] = (None,) * len(streams)
    for row in zip_longest(*streams):
        last = tuple(window or before for window, before in zip(row, last, strict=True))
        yield cast("tuple[Window, ...]", last)


def _latest(row: Sequence[Window]) -> Window:
    """Returns the window that a row of `side_by_side` is about: those before it only repeat their streams' last."""
    return max(row, key=lambda window: (window.start, window.end))


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
    workspace = Workspace.containing(source)
    if provenance["kind"] == "runs":
        run = load_run(source, workspace, device)
        thresholds = np.full(len(run.species), PLAIN_THRESHOLD)
        return assemble_classifier({"run": [run]}, PredictConfig(), "mean", np.ones(1), 1.0, thresholds)
    if provenance["kind"] != "reports":
        raise ValueError(f"{source} holds {provenance['kind']}; only a run or a report can predict.")
    return _load_report(source, provenance, workspace, device)


def _load_report(source: Path, provenance: Mapping[str, Any], workspace: Workspace, device: torch.device) -> Classifier:
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
        if name in ("baseline", "zero_shot"):
            continue
        made = read_provenance(workspace.artefact("predictions", key))
        settings = PredictConfig(**made["config"])
        members[name.rsplit("/", 1)[0]].append(
            load_run(workspace.artefact("runs", made["inputs"]["run"]), workspace, device)
        )
    return assemble_classifier(
        members,
        settings,
        method,
        np.array([report["ensemble"]["weights"][name] for name in members]),
        report["calibration"]["temperature"],
        np.array([species["threshold"] for species in report["per_species"]]),
    )


def assemble_classifier(
    members: Mapping[str, Sequence[TrainedRun]],
    settings: PredictConfig,
    method: EnsembleMethod,
    weights: Floats,
    temperature: float,
    thresholds: Floats,
) -> Classifier:
    """Returns a classifier of runs that share species and length of windows; a member's runs share its front end.

    Raises:
        ValueError: If they do not; the first differing member is named.
    """
    runs = [(name, run) for name, of_member in members.items() for run in of_member]
    first_name, first = runs[0]
    for name, run in runs:
        own = members[name][0]
        if (run.species, run.clip_seconds, run.features) != (first.species, first.clip_seconds, own.features):
            raise ValueError(
                f"The members {first_name!r} and {name!r} differ in species, features or clip_seconds, and so see no "
                "common window. Predict with a report whose members share them, or with one run."
            )
    return Classifier(
        first.species,
        first.clip_seconds,
        [_as_member(of_member, settings) for of_member in members.values()],
        method,
        weights,
        temperature,
        thresholds,
        settings.batch_windows,
    )


def _as_member(runs: Sequence[TrainedRun], settings: PredictConfig) -> Member:
    """Returns a member of its runs, which share a front end."""
    features = runs[0].features
    seen = list(product(settings.shift_seconds, settings.gain_db, settings.shift_bands))
    weights = settings.view_weights or (1.0,) * len(seen)
    views = [
        (View(round(shift * features.frames_per_second), gain, bands), weight)
        for (shift, gain, bands), weight in zip(seen, weights, strict=True)
    ]
    return Member([run.model for run in runs], features, runs[0].store, views)
