"""Runs a flow in this process and prints the directories that it returns."""

import atexit
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

import typer

from cache.workspace.workspace import Workspace
from flows.settings import apply_settings


def run_flow(name: str, workspace: str, **others: Any) -> None:
    """Run a flow; the last lines of the output are the directories of its artefacts.

    Args:
        name: Module and name of the flow, such as `flows.pipeline:full_pipeline`.
        workspace: Directory or URL of the artefacts.
        others: All other parameters of the flow.

    Raises:
        ValueError, OSError: If the workspace's address is wrong, or nothing can be written there.
    """
    address = Workspace.open(workspace).writable_address()  # reports a wrong workspace before a server starts
    apply_settings()  # before the flow's module imports Prefect
    flow: Callable[..., Any] = resolve_name(name)
    directories: list[str] = []
    # Registered before Prefect registers its own last message, so this runs after it: the directories come last.
    atexit.register(lambda: typer.echo("\n".join(directories)) if directories else None)
    result = flow(workspace=address, **others)
    directories += result if isinstance(result, list) else [result]
