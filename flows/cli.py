"""The command line: `birdclef run CONFIG [section.key=value ...]` and its companions."""

import atexit
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.config import dump_config, load_config
from flows.settings import apply_settings
from flows.status import format_status, read_status

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From a folder of labelled bird recordings to trained, honestly evaluated species classifiers.",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at configurations.")
app.add_typer(config_app, name="config")

Config = Annotated[Path, typer.Argument(help="YAML file of the experiment, such as configs/small.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="section.key=value, as often as wanted.")]
Workspace = Annotated[
    Path, typer.Option(envvar="BIRDCLEF_WORKSPACE", help="Directory of the artefacts.", file_okay=False)
]
WORKSPACE = Path("workspace")


@app.command()
def run(config: Config, overrides: Overrides = None, workspace: Workspace = WORKSPACE) -> None:
    """Run the whole pipeline in the foreground; the last line is the report's directory."""
    _run_flow("full_pipeline", config, overrides, workspace)


@app.command()
def features(config: Config, overrides: Overrides = None, workspace: Workspace = WORKSPACE) -> None:
    """Compute the log-mel strips that are missing; the last line is the catalogue's directory."""
    _run_flow("features_flow", config, overrides, workspace)


@app.command()
def split(config: Config, overrides: Overrides = None, workspace: Workspace = WORKSPACE) -> None:
    """Assign recordings to folds; the last line is the split's directory."""
    _run_flow("split_flow", config, overrides, workspace)


@app.command()
def train(config: Config, overrides: Overrides = None, workspace: Workspace = WORKSPACE) -> None:
    """Train all members on their folds; the last lines are the runs' directories."""
    _run_flow("train_flow", config, overrides, workspace)


@app.command()
def evaluate(config: Config, overrides: Overrides = None, workspace: Workspace = WORKSPACE) -> None:
    """Predict and report; the last line is the report's directory."""
    _run_flow("evaluate_flow", config, overrides, workspace)


@app.command()
def synth(
    directory: Annotated[Path, typer.Argument(help="Folder to make.", file_okay=False)],
    species: Annotated[int, typer.Option(help="Number of species, 20 at least.")] = 24,
    recordings: Annotated[int, typer.Option(help="Number of recordings.")] = 240,
    seed: Annotated[int, typer.Option(help="Seed of everything in the corpus.")] = 0,
) -> None:
    """Generate a corpus of synthetic bird song in the BirdCLEF layout."""
    from cache.synth import CorpusPlan, synthesize_corpus

    plan = CorpusPlan(species=species, recordings=recordings, seed=seed)
    typer.echo(synthesize_corpus(directory, plan))


@app.command()
def status(workspace: Workspace = WORKSPACE) -> None:
    """List the artefacts of a workspace with lineage, size and age."""
    typer.echo(format_status(list(read_status(workspace)), workspace))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address that a started Prefect server listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of a started Prefect server.")] = 4200,
    workspace: Workspace = WORKSPACE,
) -> None:
    """Bring up server, work pool, deployments and worker; stop them on SIGTERM or Ctrl-C."""
    apply_settings()
    from flows.serve import serve as serve_deployments

    project = Path(__file__).resolve().parent.parent
    os.environ["BIRDCLEF_WORKSPACE"] = str(workspace.resolve())
    serve_deployments(project, host, port)


@config_app.command("show")
def show_config(config: Config, overrides: Overrides = None) -> None:
    """Print every effective value of an experiment."""
    typer.echo(dump_config(load_config(config, overrides or ())), nl=False)


def main() -> None:
    """Run the command line; an expected error is one message and exit status 1."""
    try:
        app()
    except (ValueError, OSError, RuntimeError, ArithmeticError) as error:
        typer.secho(f"{type(error).__name__}: {error}", fg=typer.colors.RED, err=True)
        sys.exit(1)


def _run_flow(name: str, config: Path, overrides: list[str] | None, workspace: Path) -> None:
    load_config(config, overrides or ())  # a wrong configuration is told before a server starts
    apply_settings()
    from flows import pipeline

    flow: Callable[..., Any] = getattr(pipeline, name)
    directories: list[str] = []
    # Registered before Prefect's own farewell, so run after it: the directory is the last line whatever is logged.
    atexit.register(lambda: typer.echo("\n".join(directories)) if directories else None)
    result = flow(config=str(config), overrides=overrides, workspace=str(workspace.resolve()))
    directories += result if isinstance(result, list) else [result]


if __name__ == "__main__":
    main()
