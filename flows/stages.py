"""The order of the stages: features -> split -> train -> predict -> evaluate. Each flow calls a part of it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from birdclef.baseline import FROZEN_BASELINE, baseline_name
from birdclef.champion import keep_champion_folds
from birdclef.held_out import find_parts
from birdclef.zero_shot import zero_shot_name
from cache.split import warn_of_unknown_recordists
from cache.workspace.workspace import Workspace
from flows.configuration.presets import read_argument
from flows.experiment import ExperimentConfig, load_config
from flows.input_check import check_inputs
from flows.monitoring.notify import notify_of_run
from flows.settings import show_stage_messages
from flows.tasks import (
    Sources,
    baseline_task,
    build_background_task,
    build_features_task,
    build_split_task,
    evaluate_task,
    frozen_baseline_task,
    held_out_task,
    predict_task,
    train_task,
    zero_shot_task,
)

DEFAULT_CONFIG = "demo"

HOOKS: dict[str, Any] = {"on_failure": [notify_of_run], "on_crashed": [notify_of_run]}
"""Hooks of every flow."""


def resolve_workspace(workspace: str | None) -> Workspace:
    """Returns the workspace at an address; without one, that of $BIRDCLEF_WORKSPACE, else `workspace`."""
    return Workspace.open(workspace or os.environ.get("BIRDCLEF_WORKSPACE") or "workspace")


@contextmanager
def prepare(
    config: str, overrides: list[str] | None, workspace: str | None
) -> Iterator[tuple[ExperimentConfig, Workspace]]:
    """Yields the experiment and the workspace; `birdclef gc` removes nothing from it while the body runs."""
    show_stage_messages()
    experiment, opened = load_config(read_argument(config), overrides or ()), resolve_workspace(workspace)
    with opened.at_work():
        yield keep_folds(experiment, opened), opened


def keep_folds(experiment: ExperimentConfig, workspace: Workspace) -> ExperimentConfig:
    """Returns the experiment with the key of the split whose folds it keeps, so that its report can be repeated."""
    return experiment.model_copy(update={"split": keep_champion_folds(experiment.split, workspace)})


def make_catalogue(experiment: ExperimentConfig, workspace: Workspace) -> Path:
    """Returns the catalogue of the experiment's features."""
    return build_features_task(experiment.data, experiment.features, workspace)


def make_member_catalogues(experiment: ExperimentConfig, workspace: Workspace) -> dict[str, Path]:
    """Returns the catalogue of each member that has features of its own."""
    return {
        member: build_features_task(experiment.data, features, workspace)
        for member, features in experiment.member_features.items()
    }


def make_backgrounds(experiments: Sequence[ExperimentConfig], workspace: Workspace) -> dict[str, Path]:
    """Returns the background of each member that reads one in any of the experiments.

    Args:
        experiments: Settings of all stages; they differ only in those of training.
        workspace: Workspace of the artefacts.
    """
    wanted = {
        name: each.features_of(name) for each in experiments for name in each.train if each.reads_background(name)
    }
    data = experiments[0].data
    built = {features: build_background_task(data, features, workspace) for features in dict.fromkeys(wanted.values())}
    return {name: built[features] for name, features in wanted.items()}


def make_sources(
    experiments: Sequence[ExperimentConfig], catalogues: dict[str, Path], workspace: Workspace
) -> dict[str, Sources]:
    """Returns what each member is trained on.

    Args:
        experiments: Settings of all stages; they differ only in those of training.
        catalogues: Catalogue of each member that has features of its own.
        workspace: Workspace of the artefacts.
    """
    backgrounds = make_backgrounds(experiments, workspace)
    return {name: (catalogues.get(name), backgrounds.get(name)) for name in experiments[0].train}


def make_split(
    experiment: ExperimentConfig,
    workspace: Workspace,
    check: Callable[[Iterable[ExperimentConfig], Workspace], None] = check_inputs,
) -> Path:
    """Returns the split of the experiment's catalogue.

    Args:
        experiment: Settings of all stages.
        workspace: Workspace of the artefacts.
        check: Refuses wrong inputs before features are computed; `check_splits` if nothing is trained on the split.
    """
    check([experiment], workspace)
    warn_of_unknown_recordists(experiment.split, experiment.data)
    return build_split_task(experiment.split, make_catalogue(experiment, workspace), workspace)


def train_members(
    experiment: ExperimentConfig, split: Path, catalogues: dict[str, Path], workspace: Workspace
) -> dict[str, dict[int, Path]]:
    """Returns the run of each member and fold."""
    sources = make_sources([experiment], catalogues, workspace)
    return {
        member: {
            fold: train_task(member, config, split, fold, workspace, sources[member])
            for fold in experiment.folds_of(member)
        }
        for member, config in experiment.train.items()
    }


def make_report(experiment: ExperimentConfig, workspace: Workspace) -> Path:
    """Returns the report of the experiment; runs every stage before it."""
    if reason := experiment.why_no_prediction():
        get_run_logger().warning("The report may become champion, but `birdclef predict` will refuse it: %s.", reason)
    split, catalogues = make_split(experiment, workspace), make_member_catalogues(experiment, workspace)
    experiment = experiment.with_folds(split)
    predictions = {
        member: [predict_task(member, fold, experiment.predict, run, workspace) for fold, run in runs.items()]
        for member, runs in train_members(experiment, split, catalogues, workspace).items()
    }
    baseline = baseline_task(split, workspace)
    zero_shot = _predict_zero_shot(split, catalogues, workspace)
    settings = experiment.model_dump(mode="json")
    return evaluate_task(experiment.evaluate, predictions, baseline, settings, workspace, zero_shot)


def make_held_out_score(report: Path, workspace: Workspace) -> Path:
    """Returns the score of a report on its held-out part; predicts this part with all models first."""
    parts = find_parts(report, workspace)
    members = {
        member: [
            predict_task(member, fold, config, run, workspace, held_out=True) for fold, (run, config) in runs.items()
        ]
        for member, runs in parts.members.items()
    }
    baseline = baseline_task(parts.split, workspace, held_out_by=parts.folds)
    return held_out_task(report, members, baseline, workspace)


def predict_baselines(
    experiment: ExperimentConfig, split: Path, catalogues: dict[str, Path], workspace: Workspace
) -> dict[str, Path]:
    """Returns the predictions of each baseline of a comparison by name."""
    fitted = baseline_task(split, workspace)
    baselines = {baseline_name(fitted): fitted}
    for name, config in experiment.train.items():
        if config.model.weights != "none" and name not in experiment.member_features:
            baselines[FROZEN_BASELINE] = frozen_baseline_task(config, split, workspace)
            break
    if zero_shot := _predict_zero_shot(split, catalogues, workspace):
        baselines[zero_shot_name(zero_shot)] = zero_shot
    return baselines


def _predict_zero_shot(split: Path, catalogues: dict[str, Path], workspace: Workspace) -> Path | None:
    """Returns the predictions of the first embedding model that has labels; None if there is no such model."""
    found = (zero_shot_task(split, catalogue, workspace) for catalogue in (None, *catalogues.values()))
    return next(filter(None, found), None)
