"""Loads the classifier of a run, a report or an exported model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from birdclef.config.evaluate import EnsembleMethod
from birdclef.config.predict import PredictConfig
from birdclef.inference.views import View
from birdclef.metrics.classification import Floats
from birdclef.model.trained_run import TrainedRun, load_run
from birdclef.scores.lineage import report_predictions
from birdclef.scores.report_file import REPORT, read_report
from birdclef.scores.report_settings import SETTINGS, read_predict_settings
from birdclef.serving.ensemble_classifier import EnsembleClassifier, Member
from birdclef.serving.onnx_classifier import load_onnx
from birdclef.serving.window_stream import PLAIN_THRESHOLD, WindowClassifier
from cache.workspace.file_format import DamagedArtefactError
from cache.workspace.provenance import check_files, read_provenance
from cache.workspace.workspace import Workspace


def load_classifier(source: Path) -> WindowClassifier:
    """Returns the classifier of a run, a report or an exported model.

    The classifier of a report has all members, the models of all their folds, all views, and the fitted temperature and
    thresholds.

    Args:
        source: Directory of a run or a report in a workspace, or a file that `birdclef export` wrote.

    Raises:
        ValueError: If the source is none of these, or the report combines its members by rank.
        FileNotFoundError: If an artefact behind a report is missing.
        DamagedArtefactError: If report or weights are not what was published.
    """
    if source.suffix == ".onnx":
        return load_onnx(source)
    if not (source / "provenance.json").is_file():
        raise ValueError(
            f"{source} is neither a run nor a report. Give workspace/runs/KEY, workspace/reports/KEY or a .onnx file."
        )
    kind = read_provenance(source)["kind"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    workspace = Workspace.containing(source)
    if kind == "runs":
        run = load_run(source, workspace, device)
        thresholds = np.full(len(run.species), PLAIN_THRESHOLD)
        return assemble_classifier({"run": [run]}, PredictConfig(), "mean", np.ones(1), 1.0, thresholds)
    if kind != "reports":
        raise ValueError(f"{source} holds {kind}, which cannot predict. Give a run or a report.")
    return _load_report(source, workspace, device)


def _load_report(source: Path, workspace: Workspace, device: torch.device) -> EnsembleClassifier:
    check_files(source, REPORT, SETTINGS)
    report = read_report(source)
    method = report["ensemble"]["method"]
    if method == "rank":
        raise ValueError(
            f"{source} combines its members by rank, which needs all recordings at once. "
            "Make a report with evaluate.ensemble=mean, geometric, rms or fitted."
        )
    members: dict[str, list[TrainedRun]] = {member["name"]: [] for member in report["members"]}
    settings, predicted = PredictConfig(), report_predictions(source, workspace)
    if not members or members.keys() != predicted.keys():
        raise DamagedArtefactError(
            f"{source} is damaged: its members are {', '.join(members) or 'none'}, and it was made from predictions of "
            f"{', '.join(predicted) or 'none'}. Get the report again from where it was made."
        )
    for name, paths in predicted.items():
        for path in paths:
            settings = read_predict_settings(path, source)
            run = workspace.artefact("runs", read_provenance(path)["inputs"]["run"])
            members[name].append(load_run(run, workspace, device))
    thresholds = np.array([species["threshold"] for species in report["per_species"]])
    species = next(iter(members.values()))[0].species
    if len(thresholds) != len(species):
        raise DamagedArtefactError(
            f"{source / REPORT} is damaged: it has {len(thresholds)} species in per_species, and its models have "
            f"{len(species)}. Get the report again from where it was made."
        )
    classifier = assemble_classifier(
        members,
        settings,
        method,
        np.array([report["ensemble"]["weights"][name] for name in members]),
        report["calibration"]["temperature"],
        thresholds,
    )
    # reports of earlier versions have no such list
    return replace(classifier, species_without_recordings=report.get("species_without_recordings", []))


def assemble_classifier(
    members: Mapping[str, Sequence[TrainedRun]],
    settings: PredictConfig,
    method: EnsembleMethod,
    weights: Floats,
    temperature: float,
    thresholds: Floats,
) -> EnsembleClassifier:
    """Returns the classifier of all runs.

    All runs must share species and length of windows, and the runs of a member must share a front end.

    Args:
        members: Runs of each member, one per fold, by name.
        settings: Views, and windows per forward pass.
        method: Method that combines the members.
        weights: Weights of the members for the method `fitted`, (members,).
        temperature: Temperature of the calibration.
        thresholds: Probability from which each species is decided to be present, (classes,).

    Raises:
        ValueError: If the runs differ. The message names the first member that differs.
    """
    runs = [(name, run) for name, of_member in members.items() for run in of_member]
    first_name, first = runs[0]
    for name, run in runs:
        own = members[name][0]
        if (run.species, run.clip_seconds, run.features) != (first.species, first.clip_seconds, own.features):
            raise ValueError(
                f"The members {first_name!r} and {name!r} differ in species, features or clip_seconds, so they "
                "share no windows. Predict with a report whose members share them, or with one run."
            )
    return EnsembleClassifier(
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
    """Returns the member with the given runs, which share a front end."""
    features = runs[0].features
    views = [(View.planned(view, features.frames_per_second), view.weight) for view in settings.views()]
    return Member([run.model for run in runs], features, runs[0].store, views)
