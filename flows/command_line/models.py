"""`birdclef models`: lists the decisions on champions, and changes the champion by hand."""

from typing import Annotated

import typer

from birdclef.champion import advise_on_choice, choose_report, roll_back
from birdclef.decisions import describe_decisions, find_champion, read_decisions
from birdclef.scores.looks import describe_looks, read_looks
from cache.workspace.workspace import Workspace
from flows.command_line.options import WORKSPACE, WorkspaceAddress

models_app = typer.Typer(help="List which reports were promoted or refused, or choose another champion.")


@models_app.callback(invoke_without_command=True)
def history(context: typer.Context, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """List which reports were promoted or refused, newest first, and held-out scores; the champion is bold."""
    if context.invoked_subcommand is None:
        opened = Workspace.open(workspace)
        decisions, looks = read_decisions(opened), read_looks(opened)
        removed = {one.report for one in decisions} - {path.name for path in opened.artefacts("reports")}
        table = describe_decisions(decisions, removed) if decisions else f"{workspace} has no champion yet."
        typer.echo(table, nl=not decisions)
        if decisions and find_champion(decisions) is None:
            typer.echo(f"\nThere is no champion. {advise_on_choice(decisions, opened)}".rstrip())
        if looks:
            typer.echo(
                f"\nHeld-out scores, newest first; each further report is a further look:\n\n{describe_looks(looks)}",
                nl=False,
            )


@models_app.command()
def rollback(
    number: Annotated[
        int | None, typer.Argument(help="Number of an earlier champion; default: the previous champion.")
    ] = None,
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Make an earlier champion the champion again."""
    decision = roll_back(number, Workspace.open(workspace))
    typer.echo(f"{decision.report} is the champion, number {decision.number}: {decision.reason}.")


@models_app.command()
def promote(
    report: Annotated[str, typer.Argument(help="Key of the report.", metavar="REPORT")],
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Make a report the champion by hand."""
    decision = choose_report(report, Workspace.open(workspace))
    typer.echo(f"{decision.report} is the champion, number {decision.number}: {decision.reason}.")
