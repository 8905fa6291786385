"""The command line: `birdclef run CONFIG [section.key=value ...]` and all other commands."""

import atexit
import logging
import sys
from collections.abc import Callable
from gc import freeze
from importlib.metadata import version
from typing import Annotated

import typer

from flows.command_line.comparisons import compare, diff, sweep
from flows.command_line.corpus import synth
from flows.command_line.models import models_app
from flows.command_line.predict import export, predict
from flows.command_line.previews import augment_app, config_app
from flows.command_line.serve import serve
from flows.command_line.stages import evaluate, features, held_out, run, split, train
from flows.command_line.upkeep import gc, status, verify
from flows.home_folder import prepare_home
from flows.monitoring.health import health
from flows.monitoring.json_log import is_logging_json, log_as_json
from flows.user_errors import USER_ERRORS, be_verbose, describe

COMMANDS: tuple[Callable[..., None], ...] = (
    *(run, features, split, train, evaluate, held_out, sweep, compare, diff),
    *(predict, export, synth, serve, health, status, verify, gc),
)
"""The commands in the order of the help page."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From a folder of labelled bird recordings to trained, honestly evaluated species classifiers.",
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(config_app, name="config")
app.add_typer(augment_app, name="augment")
app.add_typer(models_app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"birdclef {version('birdclef')}")
        raise typer.Exit


@app.callback()
def set_up(
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log lines of JSON, for log collectors (or set BIRDCLEF_LOG_JSON=1).")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show errors with their traceback (or set BIRDCLEF_VERBOSE=1)."),
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """From a folder of labelled bird recordings to trained, honestly evaluated species classifiers."""
    if log_json or is_logging_json():
        log_as_json()
    if verbose:
        be_verbose()
    prepare_home()


def run_app() -> None:
    """Run a command; a user's error is printed as one message, and the exit status is 1."""
    # Else the interpreter looks for garbage among everything that was imported before it ends: 0.2 to 1.5 s.
    atexit.register(freeze)
    try:
        app()
    except USER_ERRORS as error:
        message = describe(error)
        if is_logging_json():
            logging.getLogger("flows.command_line.app").error(message)
        else:
            typer.secho(message, fg=typer.colors.RED, err=True)
        sys.exit(1)
