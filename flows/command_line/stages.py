"""The commands of the pipeline: `birdclef run` for all stages, and one command for each stage."""

from pathlib import Path
from typing import Annotated

import typer

from birdclef.champion import CHAMPION, champion_report
from cache.workspace.urls import expand_home
from cache.workspace.workspace import Workspace
from flows.command_line.foreground import run_flow
from flows.command_line.options import WORKSPACE, Config, Overrides, WorkspaceAddress
from flows.experiment import load_config


def run(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Run the whole pipeline in the foreground; the last line is the report's directory."""
    _run_stages("full_pipeline", config, overrides, workspace)


def features(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Compute the missing strips; the last line is the catalogue's directory."""
    _run_stages("features_flow", config, overrides, workspace)


def split(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Assign recordings to folds; the last line is the split's directory."""
    _run_stages("split_flow", config, overrides, workspace)


def train(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Train all members on their folds; the last lines are the runs' directories."""
    _run_stages("train_flow", config, overrides, workspace)


def evaluate(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Predict the validation recordings and write the report; the last line is the report's directory."""
    _run_stages("evaluate_flow", config, overrides, workspace)


def held_out(
    source: Annotated[str, typer.Argument(help="'champion', or the directory of a report.")],
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Score a report on the recordings that its split held out, and count this look; the last line is the directory."""
    from birdclef.held_out import find_parts

    opened = Workspace.open(workspace) if source == CHAMPION else Workspace.containing(expand_home(source))
    find_parts(champion_report(opened) if source == CHAMPION else expand_home(source), opened)  # before a server starts
    # The folder, and not the URL that it may mirror, because a mirror may lie anywhere.
    run_flow("flows.pipeline:held_out_flow", str(opened.directory), source=source)


def _run_stages(flow: str, config: Path, overrides: list[str] | None, workspace: str) -> None:
    experiment = load_config(config, overrides or ())  # reports a wrong configuration before a server starts
    run_flow(f"flows.pipeline:{flow}", workspace, [experiment], config=str(config), overrides=overrides)
