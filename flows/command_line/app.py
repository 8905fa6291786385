"""The command line: `birdclef run CONFIG [section.key=value ...]` and its companions."""

import atexit
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from birdclef.champion import CHAMPION, champion_report, keep_champion_folds
from birdclef.comparison.arms import ARMS
from birdclef.config.predict import DetectionFormat
from cache.workspace.address import resolve_address
from cache.workspace.workspace import Workspace
from flows.command_line.models import models_app
from flows.command_line.options import WORKSPACE, Config, Overrides, WorkspaceAddress
from flows.command_line.upkeep import gc, status, verify
from flows.configuration.presets import is_preset
from flows.experiment import expand_grid, load_arms, load_config, show_config
from flows.monitoring.health import health
from flows.monitoring.json_log import is_logging_json, log_as_json
from flows.settings import apply_settings, show_stage_messages
from flows.user_errors import USER_ERRORS, be_verbose, describe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From a folder of labelled bird recordings to trained, honestly evaluated species classifiers.",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at configurations.")
app.add_typer(config_app, name="config")
augment_app = typer.Typer(no_args_is_help=True, help="Look at augmentations.")
app.add_typer(augment_app, name="augment")
app.add_typer(models_app, name="models")


@app.callback()
def set_up_log(
    log_json: Annotated[
        bool, typer.Option("--log-json", envvar="BIRDCLEF_LOG_JSON", help="Log lines of JSON, for log collectors.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", envvar="BIRDCLEF_VERBOSE", help="Tell errors with their traceback."),
    ] = False,
) -> None:
    """From a folder of labelled bird recordings to trained, honestly evaluated species classifiers."""
    if log_json:
        log_as_json()
    if verbose:
        be_verbose()


@app.command()
def run(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Run the whole pipeline in the foreground; the last line is the report's directory."""
    _run_flow("full_pipeline", config, overrides, workspace)


@app.command()
def features(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Compute the strips that are missing; the last line is the catalogue's directory."""
    _run_flow("features_flow", config, overrides, workspace)


@app.command()
def split(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Assign recordings to folds; the last line is the split's directory."""
    _run_flow("split_flow", config, overrides, workspace)


@app.command()
def train(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Train all members on their folds; the last lines are the runs' directories."""
    _run_flow("train_flow", config, overrides, workspace)


@app.command()
def evaluate(config: Config, overrides: Overrides = None, workspace: WorkspaceAddress = WORKSPACE) -> None:
    """Predict and report; the last line is the report's directory."""
    _run_flow("evaluate_flow", config, overrides, workspace)


@app.command()
def sweep(
    config: Config,
    grid: Annotated[list[str], typer.Argument(help="section.key=[value, value], as often as wanted.")],
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Run the pipeline for every combination of values and compare; the last line is the comparison's directory."""
    expand_grid(config, grid)  # a wrong grid is told before a server starts
    _start_flow("sweep_flow", config, grid, workspace)


@app.command()
def compare(
    config: Config,
    overrides: Overrides = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(ARMS)}, or 'NAME key=value …' with settings of the member; default: all."),
    ] = None,
    epochs: Annotated[
        list[int] | None, typer.Option(help="Budget, as often as wanted; default: half the epochs, and all.", min=1)
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each arm and budget.", min=1)] = 3,
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Hold objectives against cross-entropy at equal cost; the last line is the comparison's directory."""
    load_arms(config, overrides or (), arm or ())  # a wrong configuration is told before a server starts
    _start_flow("compare_flow", config, overrides, workspace, arms=arm, epochs=epochs, seeds=seeds)


@app.command()
def diff(
    reports: Annotated[
        list[Path], typer.Argument(help="Directories of reports; the others are held against the first.")
    ],
    output: Annotated[Path | None, typer.Option(help="JSON file to write as well.", dir_okay=False)] = None,
    samples: Annotated[int, typer.Option(help="Resamples of the recordists.", min=1)] = 1000,
    confidence: Annotated[float, typer.Option(help="Coverage of the intervals.", min=0.01, max=0.999)] = 0.95,
) -> None:
    """Hold reports against each other on the same recordings: paired intervals, species that gained and lost."""
    from birdclef.comparison.diff import compare_reports, describe_diff
    from birdclef.config.evaluate import EvaluateConfig

    found = compare_reports(reports, EvaluateConfig(bootstrap_samples=samples, confidence=confidence))
    if output:
        output.write_text(json.dumps(found, indent=2) + "\n")
    typer.echo(describe_diff(found), nl=False)


@app.command()
def predict(
    source: Annotated[
        str, typer.Argument(help="'champion', the directory of a report or of a single run, or an exported .onnx file.")
    ],
    paths: Annotated[list[Path], typer.Argument(help="Recordings of any length, or folders of them.")],
    output: Annotated[Path, typer.Option(help="File to write.", dir_okay=False)],
    form: Annotated[
        DetectionFormat,
        typer.Option(
            "--format", help="BirdCLEF submission, a row for each species present, Raven selections, Audacity labels."
        ),
    ] = "submission",
    threshold: Annotated[
        float | None,
        typer.Option(help="From which probability a species is present; default: its own of the report.", min=0, max=1),
    ] = None,
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Predict new recordings, window by window; exit status 1 if any of them could not be read."""
    from birdclef.predict_recordings import find_recordings, predict_with

    apply_settings()
    model = champion_report(Workspace.open(workspace)) if source == CHAMPION else Path(source)
    outcome = predict_with(model, find_recordings(paths), output, form, threshold)
    typer.echo(
        f"{outcome.recordings} of {outcome.recordings + len(outcome.failures)} recordings "
        f"({outcome.seconds / 3600:.2f} h) predicted: {output}"
    )
    if outcome.failures:
        raise typer.Exit(1)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    output: Annotated[Path, typer.Option(help="File to write; its model card is written beside it.", dir_okay=False)],
    to: Annotated[Literal["onnx"], typer.Option(help="Format.")] = "onnx",
) -> None:
    """Write a run as one file, waveform (or embeddings) in, probabilities out, and compare it with the library."""
    from birdclef.export import EXPORTERS

    difference = EXPORTERS[to](source, output)
    typer.echo(f"{output}: probabilities differ from the library's by {difference:.1e} at most")


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
def serve(
    config: Annotated[
        Path | None, typer.Argument(help="Preset or YAML file that scheduled runs take; default: demo.")
    ] = None,
    overrides: Overrides = None,
    schedule: Annotated[
        str | None, typer.Option(help="Run the full pipeline so, such as '0 3 * * 1'.", metavar="CRON")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the schedule, such as Europe/Berlin.")] = "UTC",
    host: Annotated[str, typer.Option(help="Address that a started Prefect server listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of a started Prefect server.")] = 4200,
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Bring up server, work pool, deployments and worker; stop them on SIGTERM or Ctrl-C."""
    apply_settings()
    show_stage_messages()
    from prefect.logging.configuration import setup_logging

    from flows.serving.deployments import parse_schedule
    from flows.serving.serve import serve as serve_deployments

    setup_logging()
    parameters: dict[str, Any] = {}
    if config:
        if not schedule:
            raise ValueError(f"{config} is what scheduled runs take: give --schedule CRON too, or leave it out.")
        load_config(config, overrides or ())  # a wrong configuration is told before a server starts
        name = str(config if is_preset(config) else config.resolve())
        parameters = {"config": name, "overrides": overrides or []}
    cron = parse_schedule(schedule, timezone) if schedule else None
    project = Path(__file__).resolve().parents[2]
    os.environ["BIRDCLEF_WORKSPACE"] = resolve_address(workspace)
    serve_deployments(project, host, port, cron, parameters)


app.command()(health)
for command in (status, verify, gc):
    app.command()(command)


@augment_app.command("preview")
def preview_augment(
    config: Config,
    overrides: Overrides = None,
    workspace: WorkspaceAddress = WORKSPACE,
    output: Annotated[Path, typer.Option(help="Picture to write.", dir_okay=False)] = Path("augment.png"),
) -> None:
    """Draw crops of the data set before and after each augmentation of the first member."""
    from birdclef.preview import preview_augmentations
    from cache.features import build_features
    from cache.split import build_split

    apply_settings()
    experiment, directory = load_config(config, overrides or ()), Workspace.open(workspace)
    member = next(iter(experiment.train))
    with directory.at_work():
        catalogue = build_features(experiment.data, experiment.features, directory)
        split_directory = build_split(keep_champion_folds(experiment.split, directory), catalogue, directory)
        features = experiment.member_features.get(member)
        own = build_features(experiment.data, features, directory) if features else None
        fold = experiment.folds_of(member)[0]
        preview_augmentations(experiment.train[member], split_directory, fold, directory, output, own)
    typer.echo(output)


@config_app.command("show")
def print_config(config: Config, overrides: Overrides = None) -> None:
    """Print every effective value of an experiment, and whether it is a default, the file's or an override's."""
    typer.echo(show_config(config, overrides or ()), nl=False)


def main() -> None:
    """Run the command line; an error that the user can mend is one message and exit status 1."""
    try:
        app()
    except USER_ERRORS as error:
        message = describe(error)
        if is_logging_json():
            logging.getLogger("flows.command_line.app").error(message)
        else:
            typer.secho(message, fg=typer.colors.RED, err=True)
        sys.exit(1)


def _run_flow(name: str, config: Path, overrides: list[str] | None, workspace: str) -> None:
    load_config(config, overrides or ())  # a wrong configuration is told before a server starts
    _start_flow(name, config, overrides, workspace)


def _start_flow(name: str, config: Path, overrides: list[str] | None, workspace: str, **others: Any) -> None:
    apply_settings()
    from flows import pipeline

    flow: Callable[..., Any] = getattr(pipeline, name)
    directories: list[str] = []
    # Registered before Prefect's own farewell, so run after it: the directory is the last line whatever is logged.
    atexit.register(lambda: typer.echo("\n".join(directories)) if directories else None)
    result = flow(config=str(config), overrides=overrides, workspace=resolve_address(workspace), **others)
    directories += result if isinstance(result, list) else [result]


if __name__ == "__main__":
    main()
