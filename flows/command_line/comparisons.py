"""The commands that compare: `birdclef sweep` settings, `compare` objectives and `diff` reports."""

import json
from pathlib import Path
from typing import Annotated

import typer

from birdclef.comparison.arms import ARMS
from cache.workspace.urls import expand_home
from flows.command_line.foreground import run_flow
from flows.command_line.options import WORKSPACE, Config, Overrides, WorkspaceAddress
from flows.configuration.overrides import as_overrides
from flows.experiment import expand_grid, load_arms, load_config


def sweep(
    config: Config,
    grid: Annotated[list[str], typer.Argument(help=r"Alternatives as section.key=\[value, value]; repeat for more.")],
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Run the pipeline for every combination of values and compare; the last line is the comparison's directory."""
    settings = expand_grid(config, grid)  # reports a wrong grid before a server starts
    experiments = [load_config(config, as_overrides(setting)) for setting in settings]
    run_flow("flows.sweep:sweep_flow", workspace, experiments, config=str(config), overrides=grid)


def compare(
    config: Config,
    overrides: Overrides = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(ARMS)}, or 'NAME key=value …' with settings of the member; repeat for more; default: all."
        ),
    ] = None,
    epochs: Annotated[
        list[int] | None,
        typer.Option(help="Budget; repeat for more; default: the configured epochs and half of them.", min=1),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of trainings of each arm and budget.", min=1)] = 3,
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Compare objectives with cross-entropy at equal cost; the last line is the comparison's directory."""
    experiments = load_arms(config, overrides or (), arm or ())  # reports a wrong configuration before a server starts
    chosen = {"arms": arm, "epochs": epochs, "seeds": seeds}
    inputs = list(experiments.values())
    run_flow("flows.compare:compare_flow", workspace, inputs, config=str(config), overrides=overrides, **chosen)


def diff(
    reports: Annotated[
        list[Path],
        typer.Argument(help="Directories of reports; each is compared with the first.", parser=expand_home),
    ],
    output: Annotated[
        Path | None, typer.Option(help="JSON file to write as well.", parser=expand_home, metavar="FILE")
    ] = None,
    samples: Annotated[int, typer.Option(help="Number of resamples for each interval.", min=1)] = 1000,
    confidence: Annotated[float, typer.Option(help="Coverage of the intervals.", min=0.01, max=0.999)] = 0.95,
) -> None:
    """Compare reports on the same recordings: paired intervals, and the species that gained or lost."""
    from birdclef.comparison.diff import compare_reports, describe_diff
    from birdclef.config.evaluate import EvaluateConfig
    from birdclef.scores.json_values import replace_nan
    from cache.workspace.user_output import check_output, is_standard_output, write_output

    if output:
        check_output(output, reports)
    found = compare_reports(reports, EvaluateConfig(bootstrap_samples=samples, confidence=confidence))
    if output:
        with write_output(output, reports) as stream:
            stream.write(f"{json.dumps(replace_nan(found), indent=2, allow_nan=False)}\n".encode())
    typer.echo(describe_diff(found), nl=False, err=output is not None and is_standard_output(output))
