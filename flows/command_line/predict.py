"""The commands that use a trained model: `birdclef predict` and `birdclef export`."""

from pathlib import Path
from typing import Annotated

import typer

from birdclef.champion import CHAMPION, champion_report
from birdclef.config.predict import DetectionFormat
from cache.workspace.urls import expand_home
from cache.workspace.user_output import is_standard_output
from cache.workspace.workspace import Workspace
from flows.command_line.interruption import set_outlook
from flows.command_line.options import WORKSPACE, WorkspaceAddress
from flows.settings import apply_settings, show_messages_here


def predict(  # noqa: PLR0913, PLR0917 - one argument for each option
    source: Annotated[
        str, typer.Argument(help="'champion', the directory of a report or of a single run, or an exported .onnx file.")
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(help="Recordings of any length, or folders of recordings.", parser=expand_home),
    ],
    output: Annotated[
        Path, typer.Option(help="File to write; - is the standard output.", parser=expand_home, metavar="FILE")
    ],
    form: Annotated[
        DetectionFormat,
        typer.Option(
            "--format",
            help="submission: BirdCLEF table. long: one row per species present. raven: Raven selections. "
            "audacity: Audacity labels.",
        ),
    ] = "submission",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Lowest probability at which a species counts as present; default: the report's own thresholds.",
            min=0,
            max=1,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the recordings that an interrupted call has finished.")
    ] = False,
    workspace: WorkspaceAddress = WORKSPACE,
) -> None:
    """Predict new recordings, window by window; the exit status is 1 if a recording could not be read."""
    from birdclef.predict_recordings import find_recordings, predict_with

    apply_settings()
    show_messages_here()
    model = champion_report(Workspace.open(workspace)) if source == CHAMPION else expand_home(source)
    outcome = predict_with(model, find_recordings(paths), output, form, threshold, resume, _tell_resumable)
    typer.echo(f"{outcome.describe()}: {output}", err=is_standard_output(output))
    if outcome.failures:
        raise typer.Exit(1)


def _tell_resumable() -> None:
    set_outlook("The same command with --resume goes on after the recordings that are finished.")


def export(
    source: Annotated[Path, typer.Argument(help="Directory of a run.", parser=expand_home, metavar="RUN")],
    output: Annotated[
        Path,
        typer.Option(help="File to write; its model card is written beside it.", parser=expand_home, metavar="FILE"),
    ],
    to: Annotated[
        str, typer.Option(help="Format of the file; an unknown name lists all formats.", metavar="FORMAT")
    ] = "onnx",
) -> None:
    """Write a run as one file, with waveforms (or embeddings) in and probabilities out, and check its probabilities."""
    from birdclef.export import EXPORTERS

    show_messages_here()
    if to not in EXPORTERS:
        raise typer.BadParameter(f"{to!r} is not a format. Formats: {', '.join(EXPORTERS)}.", param_hint="--to")
    difference = EXPORTERS[to](source, output)
    typer.echo(f"{output}: probabilities differ from the library's by {difference:.1e} at most")
