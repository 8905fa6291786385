"""Runs a flow in this process and prints the directories that it returns."""

import atexit
import os
from collections.abc import Callable, Collection
from pkgutil import resolve_name
from typing import Any

import typer

from cache.workspace.workspace import Workspace
from flows.command_line.interruption import set_outlook
from flows.experiment import ExperimentConfig
from flows.settings import WEBHOOK, apply_settings

FEATURES_FLOW = "flows.pipeline:features_flow"
"""The flow that makes no split."""
SPLIT_FLOW = "flows.pipeline:split_flow"
"""The flow that makes a split and trains nothing."""


def run_flow(name: str, workspace: str, experiments: Collection[ExperimentConfig] = (), **others: Any) -> None:
    """Run a flow; the last lines of the output are the directories of its artefacts.

    A wrong workspace, and wrong inputs of the experiments, are told before a server starts.

    Args:
        name: Module and name of the flow, such as `flows.pipeline:full_pipeline`.
        workspace: Directory or URL of the artefacts.
        experiments: What the flow runs.
        others: All other parameters of the flow.

    Raises:
        ValueError, OSError: If the workspace's address is wrong, or nothing can be written there, or as `check_inputs`.
    """
    set_outlook("The next run with these settings goes on where this one stopped.")
    opened = Workspace.open(workspace)
    address = opened.writable_address()
    if experiments and not os.environ.get(WEBHOOK):  # with a webhook the flow checks alone, and so tells the webhook
        _check(name, experiments, opened)
    apply_settings()  # before the flow's module imports Prefect
    flow: Callable[..., Any] = resolve_name(name)
    directories: list[str] = []
    # Registered before Prefect registers its own last message, so this runs after it: the directories come last.
    atexit.register(lambda: typer.echo("\n".join(directories)) if directories else None)
    _start_server_if_needed()
    result = flow(workspace=address, **others)
    directories += result if isinstance(result, list) else [result]


def _start_server_if_needed() -> None:
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        from flows.command_line.temporary_server import start_server  # loads Prefect's server, which takes seconds
        from flows.serving.password import protect_temporary_server

        protect_temporary_server()
        start_server()


def _check(name: str, experiments: Collection[ExperimentConfig], workspace: Workspace) -> None:
    # Imported here because they load pandas and SciPy.
    from flows.input_check import check_inputs, check_recordings, check_splits

    if name == FEATURES_FLOW:
        check_recordings(experiments)
    elif name == SPLIT_FLOW:
        check_splits(experiments, workspace)
    else:
        check_inputs(experiments, workspace)
