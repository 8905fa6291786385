"""The flow of `birdclef compare`: training objectives against each other at equal cost."""

from collections.abc import Iterable
from pathlib import Path

from prefect import flow

from birdclef.comparison.arms import Trial, plan_trials
from cache.workspace.workspace import Workspace
from flows.configuration.presets import read_argument
from flows.experiment import ExperimentConfig, load_arms
from flows.input_check import check_inputs
from flows.prefect_ui.failures import fail_in_one_sentence
from flows.settings import show_stage_messages
from flows.stages import (
    DEFAULT_CONFIG,
    HOOKS,
    keep_folds,
    make_member_catalogues,
    make_sources,
    make_split,
    predict_baselines,
    resolve_workspace,
)
from flows.tasks import Sources, compare_task, predict_task, train_task


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
    """Compare training objectives at equal cost with cross-entropy and baselines; returns the comparison's address.

    Args:
        config: Name of a preset, or path of a YAML file. The arms are variants of its first member; each arm is also
            scored in an ensemble with the other members.
        overrides: Settings of all arms, each as `section.key=value`.
        workspace: Directory or URL of the artefacts; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
        arms: Names of arms, or `NAME key=value key=value` with settings of the member; if empty, all known arms.
        epochs: Budgets in epochs of the reference; if empty, the configured epochs and half of them.
        seeds: Number of trainings of each arm and budget.
    """
    show_stage_messages()
    experiments = load_arms(read_argument(config), overrides or (), arms or ())
    opened = resolve_workspace(workspace)
    with opened.at_work():
        check_inputs(experiments.values(), opened)
        experiment = keep_folds(next(iter(experiments.values())), opened)
        member, *companions = experiment.train
        split, catalogues = make_split(experiment, opened), make_member_catalogues(experiment, opened)
        trials = plan_trials(
            {arm: each.train[member] for arm, each in experiments.items()},
            epochs or (),
            seeds,
            {name: experiment.train[name] for name in companions},
        )
        sources = make_sources(list(experiments.values()), catalogues, opened)
        finished = _run_trials(trials, experiment.with_folds(split), split, sources, opened)
        baselines = predict_baselines(experiment, split, catalogues, opened)
        return opened.address(compare_task(experiment.evaluate, finished, baselines, companions, opened))


def _run_trials(
    trials: Iterable[Trial],
    experiment: ExperimentConfig,
    split: Path,
    sources: dict[str, Sources],
    workspace: Workspace,
) -> list[tuple[Trial, list[Path]]]:
    """Returns each trial with its predictions, one per fold."""
    first, *companions = experiment.train
    finished = []
    for trial in trials:
        member = trial.arm if trial.arm in companions else first
        name = f"{trial.arm} {trial.epochs} epochs seed {trial.seed}"
        predictions = []
        for fold in experiment.folds_of(member):
            run = train_task(name, trial.config, split, fold, workspace, sources[member])
            predictions.append(predict_task(name, fold, experiment.predict, run, workspace))
        finished.append((trial, predictions))
    return finished
