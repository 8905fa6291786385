"""`birdclef serve`: server, work pool, deployments and worker."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from cache.workspace.workspace import Workspace
from flows.command_line.interruption import leave_signals
from flows.command_line.options import WORKSPACE, Overrides, WorkspaceAddress
from flows.configuration.presets import is_preset, read_argument
from flows.experiment import load_config
from flows.settings import apply_settings, show_stage_messages


def serve(  # noqa: PLR0913, PLR0917 - one argument for each option
    config: Annotated[
        Path | None,
        typer.Argument(parser=read_argument, help="Preset or YAML file of the scheduled runs; default: demo."),
    ] = None,
    overrides: Overrides = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="When to run the full pipeline, as a cron expression such as '0 3 * * 1'.", metavar="CRON"),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the schedule, such as Europe/Berlin.")] = "UTC",
    host: Annotated[str, typer.Option(help="Address that the Prefect server listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the Prefect server.")] = 4200,
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Start server, work pool, deployments and worker; SIGTERM or Ctrl-C stops them."""
    address = Workspace.open(workspace).writable_address()  # reports a wrong workspace before a server starts
    apply_settings()
    show_stage_messages()
    from prefect.logging.configuration import setup_logging

    from flows.serving.deployments import parse_schedule
    from flows.serving.serve import serve as serve_deployments

    setup_logging()
    leave_signals()  # serve has handlers of its own
    parameters = _scheduled_parameters(config, overrides or [], schedule) if config else {}
    cron = parse_schedule(schedule, timezone) if schedule else None
    os.environ["BIRDCLEF_WORKSPACE"] = address
    serve_deployments(host, port, cron, parameters)


def _scheduled_parameters(config: Path, overrides: list[str], schedule: str | None) -> dict[str, Any]:
    """Returns the parameters of the scheduled runs.

    Raises:
        ValueError: If there is no schedule, or the configuration is wrong.
    """
    if not schedule:
        raise ValueError(
            f"A configuration ({config}) is only for scheduled runs: add --schedule CRON, such as --schedule "
            "'0 3 * * 1', or leave the configuration out."
        )
    load_config(config, overrides)  # reports a wrong configuration before a server starts
    return {"config": str(config if is_preset(config) else config.resolve()), "overrides": overrides}
