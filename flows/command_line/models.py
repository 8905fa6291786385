"""`birdclef models`: the history of champions, and how to step in."""

from typing import Annotated

import typer

from birdclef.champion import choose_report, describe_decisions, read_decisions, roll_back
from cache.workspace.mirror import open_workspace
from flows.command_line.options import WORKSPACE, Workspace

models_app = typer.Typer(help="List which reports were promoted or refused, and choose another.")


@models_app.callback(invoke_without_command=True)
def history(context: typer.Context, workspace: Workspace = WORKSPACE) -> None:
    """List which reports were promoted or refused, the last one first; the champion is bold."""
    if context.invoked_subcommand is None:
        decisions = read_decisions(open_workspace(workspace))
        typer.echo(
            describe_decisions(decisions) if decisions else f"{workspace} has no champion yet.", nl=not decisions
        )


@models_app.command()
def rollback(
    number: Annotated[int | None, typer.Argument(help="Of an earlier champion; default: the one before.")] = None,
    workspace: Workspace = WORKSPACE,
) -> None:
    """Make an earlier champion the champion again."""
    decision = roll_back(number, open_workspace(workspace))
    typer.echo(f"{decision.report} is the champion, number {decision.number}: {decision.reason}.")


@models_app.command()
def promote(
    report: Annotated[str, typer.Argument(help="Key of the report.", metavar="REPORT")],
    workspace: Workspace = WORKSPACE,
) -> None:
    """Make a report the champion by hand."""
    decision = choose_report(report, open_workspace(workspace))
    typer.echo(f"{decision.report} is the champion, number {decision.number}: {decision.reason}.")
