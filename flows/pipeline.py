"""The pipeline as one flow, each stage as a flow, and the prediction of new recordings as a flow."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from birdclef.champion import CHAMPION, champion_report
from birdclef.config.predict import DetectionFormat
from cache.workspace.urls import expand_home
from cache.workspace.workspace import Workspace
from flows.input_check import check_splits
from flows.prefect_ui.failures import fail_in_one_sentence
from flows.settings import show_stage_messages
from flows.stages import (
    DEFAULT_CONFIG,
    HOOKS,
    make_backgrounds,
    make_catalogue,
    make_held_out_score,
    make_member_catalogues,
    make_report,
    make_split,
    prepare,
    resolve_workspace,
    train_members,
)
from flows.tasks import predict_recordings_task, promote_task


@flow(name="birdclef-features", **HOOKS)
@fail_in_one_sentence
def features_flow(
    config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None
) -> str:
    """Compute the missing strips and the catalogue; returns the catalogue's address.

    The flow also computes the features of each member that has features of its own, and the backgrounds that training
    reads.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: Settings that replace those of the configuration, each as `section.key=value`.
        workspace: Directory or URL of the artefacts; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with prepare(config, overrides, workspace) as (experiment, opened):
        make_member_catalogues(experiment, opened)
        catalogue = make_catalogue(experiment, opened)
        make_backgrounds([experiment], opened)
        return opened.address(catalogue)


@flow(name="birdclef-split", **HOOKS)
@fail_in_one_sentence
def split_flow(config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None) -> str:
    """Assign recordings to folds; returns the split's address. Features come from the workspace if they exist.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: Settings that replace those of the configuration, each as `section.key=value`.
        workspace: Directory or URL of the artefacts; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with prepare(config, overrides, workspace) as (experiment, opened):
        return opened.address(make_split(experiment, opened, check_splits))


@flow(name="birdclef-train", **HOOKS)
@fail_in_one_sentence
def train_flow(
    config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None
) -> list[str]:
    """Train all members on their folds; returns the addresses of the runs.

    Features and split come from the workspace if they exist.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: Settings that replace those of the configuration, each as `section.key=value`.
        workspace: Directory or URL of the artefacts; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with prepare(config, overrides, workspace) as (experiment, opened):
        split, catalogues = make_split(experiment, opened), make_member_catalogues(experiment, opened)
        members = train_members(experiment.with_folds(split), split, catalogues, opened)
        return [opened.address(run) for runs in members.values() for run in runs.values()]


@flow(name="birdclef-evaluate", **HOOKS)
@fail_in_one_sentence
def evaluate_flow(
    config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None
) -> str:
    """Predict the validation recordings and write the report; returns the report's address.

    Artefacts of earlier stages come from the workspace if they exist.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: Settings that replace those of the configuration, each as `section.key=value`.
        workspace: Directory or URL of the artefacts; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with prepare(config, overrides, workspace) as (experiment, opened):
        return opened.address(make_report(experiment, opened))


@flow(name="birdclef-held-out", **HOOKS)
@fail_in_one_sentence
def held_out_flow(source: str = CHAMPION, workspace: str | None = None) -> str:
    """Score a report on the recordings that its split held out; returns the score's address.

    Args:
        source: `champion`, or the directory of a report.
        workspace: Directory or URL that holds the champion; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    show_stage_messages()
    opened = resolve_workspace(workspace) if source == CHAMPION else Workspace.containing(expand_home(source))
    report = champion_report(opened) if source == CHAMPION else expand_home(source)
    with opened.at_work():
        return opened.address(make_held_out_score(report, opened))


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
    """Predict new recordings with the champion, a report's ensemble or one run; returns the path of the output.

    Args:
        source: `champion`, or the directory of a report or of a run.
        paths: Recordings of any length, or folders of recordings.
        output: File to write.
        form: submission for BirdCLEF, long for one row per species present, raven for Raven selections, or audacity
            for Audacity labels.
        threshold: Lowest probability at which a species counts as present; if empty, the report's own thresholds.
        workspace: Directory or URL that holds the champion; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    from birdclef.predict_recordings import find_recordings

    show_stage_messages()
    recordings = find_recordings([expand_home(path) for path in paths])
    model = champion_report(resolve_workspace(workspace)) if source == CHAMPION else expand_home(source)
    failures = predict_recordings_task(model, recordings, expand_home(output), form, threshold)
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
    """From a folder of recordings to a macro-F1 report and a champion; returns the report's address.

    The report becomes the champion if it is shown to be at most a margin worse than the champion and the best champion
    so far, and if their scores can be compared. If neither recordings nor settings have changed, every artefact comes
    from the workspace.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: Settings that replace those of the configuration, each as `section.key=value`.
        workspace: Directory or URL of the artefacts; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    with prepare(config, overrides, workspace) as (experiment, opened):
        report = make_report(experiment, opened)
        promote_task(experiment.promote, experiment.evaluate, report, opened)
        return opened.address(report)
