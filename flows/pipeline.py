"""The DAG: features -> split -> train -> predict -> evaluate -> promote, as one flow and as one flow per stage."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field

from birdclef.baseline import FROZEN_BASELINE, baseline_name
from birdclef.champion import CHAMPION, champion_report, keep_champion_folds
from birdclef.comparison.arms import plan_trials
from birdclef.config.predict import DetectionFormat
from birdclef.zero_shot import zero_shot_name
from cache.workspace.workspace import Workspace
from flows.configuration.overrides import as_overrides
from flows.experiment import ExperimentConfig, expand_grid, load_arms, load_config
from flows.monitoring.notify import notify_of_run
from flows.prefect_ui.failures import fail_in_one_sentence
from flows.settings import show_stage_messages
from flows.tasks import (
    baseline_task,
    build_features_task,
    build_split_task,
    compare_task,
    evaluate_task,
    frozen_baseline_task,
    predict_recordings_task,
    predict_task,
    promote_task,
    sweep_task,
    train_task,
    zero_shot_task,
)

DEFAULT_CONFIG = "demo"

HOOKS: dict[str, Any] = {"on_failure": [notify_of_run], "on_crashed": [notify_of_run]}
"""Of every flow."""


@flow(name="birdclef-features", **HOOKS)
@fail_in_one_sentence
def features_flow(
    config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None
) -> str:
    """Compute the strips and the catalogue of a data set, and of members with features of their own.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: `section.key=value` settings on top of it.
        workspace: Directory or URL of the artefacts; empty: $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with _prepared(config, overrides, workspace) as (experiment, opened):
        _member_catalogues(experiment, opened)
        return opened.address(_features(experiment, opened))


@flow(name="birdclef-split", **HOOKS)
@fail_in_one_sentence
def split_flow(config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None) -> str:
    """Assign recordings to folds; features come from cache where they exist.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: `section.key=value` settings on top of it.
        workspace: Directory or URL of the artefacts; empty: $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with _prepared(config, overrides, workspace) as (experiment, opened):
        return opened.address(_split(experiment, opened))


@flow(name="birdclef-train", **HOOKS)
@fail_in_one_sentence
def train_flow(
    config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None
) -> list[str]:
    """Train all members on their folds; features and split come from cache where they exist.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: `section.key=value` settings on top of it.
        workspace: Directory or URL of the artefacts; empty: $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with _prepared(config, overrides, workspace) as (experiment, opened):
        split, catalogues = _split(experiment, opened), _member_catalogues(experiment, opened)
        members = _train(experiment, split, catalogues, opened)
        return [opened.address(run) for runs in members.values() for run in runs.values()]


@flow(name="birdclef-evaluate", **HOOKS)
@fail_in_one_sentence
def evaluate_flow(
    config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None
) -> str:
    """Predict and report; whatever exists of the earlier stages comes from cache.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: `section.key=value` settings on top of it.
        workspace: Directory or URL of the artefacts; empty: $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with _prepared(config, overrides, workspace) as (experiment, opened):
        return opened.address(_evaluate(experiment, opened))


@flow(name="birdclef-sweep", **HOOKS)
@fail_in_one_sentence
def sweep_flow(config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None) -> str:
    """Run the pipeline for every combination of settings, from one cache, and compare the reports.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: `section.key=[value, value]`: alternatives of one setting each.
        workspace: Directory or URL of the artefacts; empty: $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    show_stage_messages()
    settings, opened = expand_grid(Path(config), overrides or ()), resolve_workspace(workspace)
    with opened.at_work():
        experiments = [load_config(Path(config), as_overrides(setting)) for setting in settings]
        reports = [_evaluate(_keep_folds(experiment, opened), opened) for experiment in experiments]
        return opened.address(sweep_task(settings, reports, opened))


@flow(name="birdclef-compare", **HOOKS)
@fail_in_one_sentence
def compare_flow(
    config: str = DEFAULT_CONFIG,
    overrides: list[str] | None = None,
    workspace: str | None = None,
    arms: list[str] | None = None,
    epochs: list[int] | None = None,
    seeds: int = 3,
) -> str:
    """Train several objectives at equal cost over several seeds, and hold them against cross-entropy and baselines.

    Args:
        config: Name of a preset, or path of a YAML file; the arms are of its first member, the others are fused with
            each of them.
        overrides: `section.key=value` settings of all arms.
        workspace: Directory or URL of the artefacts; empty: $BIRDCLEF_WORKSPACE, else `workspace`.
        arms: Names of arms, or `NAME key=value key=value` with settings of the member; empty: all known ones.
        epochs: Budgets, in epochs of the reference; empty: half of the configured epochs, and all.
        seeds: Trainings of each arm and budget.
    """
    show_stage_messages()
    experiments = load_arms(Path(config), overrides or (), arms or ())
    opened = resolve_workspace(workspace)
    with opened.at_work():
        experiment = _keep_folds(next(iter(experiments.values())), opened)
        member, *companions = experiment.train
        split, catalogues = _split(experiment, opened), _member_catalogues(experiment, opened)
        trials = plan_trials(
            {arm: each.train[member] for arm, each in experiments.items()},
            epochs or (),
            seeds,
            {name: experiment.train[name] for name in companions},
        )
        finished = []
        for trial in trials:
            trained = trial.arm if trial.arm in companions else member
            name = f"{trial.arm} {trial.epochs} epochs seed {trial.seed}"
            predictions = []
            for fold in experiment.folds_of(trained):
                run = train_task(name, trial.config, split, fold, opened, catalogues.get(trained))
                predictions.append(predict_task(name, fold, experiment.predict, run, opened))
            finished.append((trial, predictions))
        baselines = _baselines(experiment, split, catalogues, opened)
        return opened.address(compare_task(experiment.evaluate, finished, baselines, companions, opened))


@flow(name="birdclef-predict", **HOOKS)
@fail_in_one_sentence
def predict_flow(
    paths: list[str],
    output: str,
    source: str = CHAMPION,
    form: DetectionFormat = "submission",
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None,
    workspace: str | None = None,
) -> str:
    """Predict new recordings with the champion, a report's ensemble or one run.

    Args:
        source: `champion`, or the directory of a report or of a run.
        paths: Recordings of any length, or folders of them.
        output: File to write.
        form: BirdCLEF submission, a row for each species present, Raven selections, or Audacity labels.
        threshold: From which probability a species is present; empty: its own of the report.
        workspace: Directory or URL with the champion; empty: $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    from birdclef.predict_recordings import find_recordings

    show_stage_messages()
    recordings = find_recordings([Path(path) for path in paths])
    model = champion_report(resolve_workspace(workspace)) if source == CHAMPION else Path(source)
    failures = predict_recordings_task(model, recordings, Path(output), form, threshold)
    if failures:
        listed = "\n".join(f"{recording}: {reason}" for recording, reason in failures.items())
        raise ValueError(
            f"{len(failures)} of {len(recordings)} recordings failed; {output} holds the others.\n{listed}"
        )
    return output


@flow(name="birdclef", **HOOKS)
@fail_in_one_sentence
def full_pipeline(
    config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None
) -> str:
    """From a folder of recordings to a macro-F1 report, and to a champion; returns the report's directory.

    A report takes the champion's place unless it may be worse. When neither recordings nor settings have changed,
    everything comes from cache.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: `section.key=value` settings on top of it.
        workspace: Directory or URL of the artefacts; empty: $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with _prepared(config, overrides, workspace) as (experiment, opened):
        report = _evaluate(experiment, opened)
        promote_task(experiment.promote, experiment.evaluate, report, opened)
        return opened.address(report)


def resolve_workspace(workspace: str | None) -> Workspace:
    """Returns the workspace at an address: as given, else $BIRDCLEF_WORKSPACE, else `workspace`."""
    return Workspace.open(workspace or os.environ.get("BIRDCLEF_WORKSPACE") or "workspace")


@contextmanager
def _prepared(
    config: str, overrides: list[str] | None, workspace: str | None
) -> Iterator[tuple[ExperimentConfig, Workspace]]:
    """Yields the experiment and the workspace, where nothing is collected as garbage between two stages."""
    show_stage_messages()
    experiment, opened = load_config(Path(config), overrides or ()), resolve_workspace(workspace)
    with opened.at_work():
        yield _keep_folds(experiment, opened), opened


def _keep_folds(experiment: ExperimentConfig, workspace: Workspace) -> ExperimentConfig:
    """Returns the experiment with the key of the split whose folds are kept, so that its report can be repeated."""
    return experiment.model_copy(update={"split": keep_champion_folds(experiment.split, workspace)})


def _features(experiment: ExperimentConfig, workspace: Workspace) -> Path:
    return build_features_task(experiment.data, experiment.features, workspace)


def _split(experiment: ExperimentConfig, workspace: Workspace) -> Path:
    return build_split_task(experiment.split, _features(experiment, workspace), workspace)


def _member_catalogues(experiment: ExperimentConfig, workspace: Workspace) -> dict[str, Path]:
    """Returns the catalogue of each member that has features of its own."""
    return {
        member: build_features_task(experiment.data, features, workspace)
        for member, features in experiment.member_features.items()
    }


def _train(
    experiment: ExperimentConfig, split: Path, catalogues: dict[str, Path], workspace: Workspace
) -> dict[str, dict[int, Path]]:
    return {
        member: {
            fold: train_task(member, config, split, fold, workspace, catalogues.get(member))
            for fold in experiment.folds_of(member)
        }
        for member, config in experiment.train.items()
    }


def _evaluate(experiment: ExperimentConfig, workspace: Workspace) -> Path:
    if reason := experiment.why_no_prediction():
        get_run_logger().warning("The report may become champion, but `birdclef predict` will refuse it: %s.", reason)
    split, catalogues = _split(experiment, workspace), _member_catalogues(experiment, workspace)
    predictions = {
        member: [predict_task(member, fold, experiment.predict, run, workspace) for fold, run in runs.items()]
        for member, runs in _train(experiment, split, catalogues, workspace).items()
    }
    baseline = baseline_task(split, workspace)
    zero_shot = _zero_shot(split, catalogues, workspace)
    settings = experiment.model_dump(mode="json")
    return evaluate_task(experiment.evaluate, predictions, baseline, settings, workspace, zero_shot)


def _baselines(
    experiment: ExperimentConfig, split: Path, catalogues: dict[str, Path], workspace: Workspace
) -> dict[str, Path]:
    """Returns what a comparison's arms are held against, by name."""
    fitted = baseline_task(split, workspace)
    baselines = {baseline_name(fitted): fitted}
    for name, config in experiment.train.items():
        if config.model.weights != "none" and name not in experiment.member_features:
            baselines[FROZEN_BASELINE] = frozen_baseline_task(config, split, workspace)
            break
    if zero_shot := _zero_shot(split, catalogues, workspace):
        baselines[zero_shot_name(zero_shot)] = zero_shot
    return baselines


def _zero_shot(split: Path, catalogues: dict[str, Path], workspace: Workspace) -> Path | None:
    """Returns the predictions of the first embedding model with labels of its own, if there is one."""
    found = (zero_shot_task(split, catalogue, workspace) for catalogue in (None, *catalogues.values()))
    return next(filter(None, found), None)
