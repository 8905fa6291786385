"""The commands about settings before a run: `birdclef config show`, `config explain` and `augment preview`."""

from pathlib import Path
from typing import Annotated

import typer

from birdclef.champion import keep_champion_folds
from cache.workspace.urls import expand_home
from cache.workspace.user_output import check_output, is_standard_output
from cache.workspace.workspace import Workspace
from flows.command_line.options import WORKSPACE, Config, Overrides, WorkspaceAddress
from flows.configuration.explanation import explain_settings
from flows.experiment import ExperimentConfig, load_config, show_config
from flows.settings import apply_settings, show_messages_here

config_app = typer.Typer(no_args_is_help=True, help="Look at configurations.")
augment_app = typer.Typer(no_args_is_help=True, help="Look at augmentations.")


@config_app.command("show")
def print_config(config: Config, overrides: Overrides = None) -> None:
    """Print every effective value of an experiment and its origin: default, file, override or a model's description."""
    typer.echo(show_config(config, overrides or ()), nl=False)


@config_app.command("explain")
def print_explanation(
    key: Annotated[
        str | None,
        typer.Argument(metavar="<key>", help="Setting or section, such as split or train.*.epochs; default: all."),
    ] = None,
) -> None:
    """Print the default and the meaning of each setting."""
    typer.echo(explain_settings(ExperimentConfig, key), nl=False)


@augment_app.command("preview")
def preview_augment(
    config: Config,
    overrides: Overrides = None,
    workspace: WorkspaceAddress = WORKSPACE,
    output: Annotated[Path, typer.Option(help="Picture to write.", parser=expand_home, metavar="FILE")] = Path(
        "augment.png"
    ),
) -> None:
    """Draw crops of the data set before and after each augmentation of the first member that reads log-mel."""
    from birdclef.preview import preview_augmentations
    from cache.background import build_background
    from cache.features import build_features
    from cache.recordings.data_set_files import data_set_paths
    from cache.split import build_split, check_split, warn_of_unknown_recordists

    apply_settings()
    show_messages_here()
    experiment, directory = load_config(config, overrides or ()), Workspace.open(workspace)
    member, data = _choose_member(experiment), experiment.data
    check_output(output, [config, *data_set_paths(data)], "png")
    with directory.at_work():
        split = keep_champion_folds(experiment.split, directory)
        check_split(split, data, directory)
        warn_of_unknown_recordists(split, data)
        split_directory = build_split(split, build_features(data, experiment.features, directory), directory)
        fold = experiment.with_folds(split_directory).folds_of(member)[0]
        features, has_own = experiment.features_of(member), member in experiment.member_features
        own = build_features(data, features, directory) if has_own else None
        background = build_background(data, features, directory) if experiment.reads_background(member) else None
        preview_augmentations(experiment.train[member], split_directory, fold, directory, output, (own, background))
    typer.echo(output, err=is_standard_output(output))


def _choose_member(experiment: ExperimentConfig) -> str:
    """Returns the first member that reads log-mel.

    Raises:
        ValueError: If all members read embeddings, which have no picture.
    """
    for member in experiment.train:
        if experiment.features_of(member).kind == "log_mel":
            return member
    raise ValueError(
        "A preview shows log-mel, but all members read features.kind=embedding, which has no picture. Choose an "
        "experiment with a member that reads log-mel, such as small."
    )
