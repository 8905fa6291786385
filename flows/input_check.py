"""Checks the user's table, its folds, backbones and weights before anything is computed; knows no Prefect."""

from collections.abc import Iterable

from birdclef.champion import keep_champion_folds
from birdclef.model.model_check import check_model
from cache.recordings.user_table import read_recordings
from cache.split import check_split
from cache.workspace.workspace import Workspace
from flows.experiment import ExperimentConfig


def check_inputs(experiments: Iterable[ExperimentConfig], workspace: Workspace) -> None:
    """Check what of some experiments can be checked before features are computed.

    Errors of the table come first, then folds that the table does not allow, then backbones and weights that are not
    there.

    Args:
        experiments: Settings of all stages; what they share is checked once.
        workspace: Workspace of the artefacts.

    Raises:
        ValueError: If the table has errors, its recordings do not allow the split, or timm has no such backbone.
        FileNotFoundError: If the table, an audio file, an earlier split or the weights are missing.
    """
    listed = list(experiments)
    check_splits(listed, workspace)
    for model in dict.fromkeys(member.model for each in listed for member in each.train.values()):
        check_model(model, workspace)


def check_splits(experiments: Iterable[ExperimentConfig], workspace: Workspace) -> None:
    """Check the table and its folds, for a flow that trains nothing; arguments and errors as of `check_inputs`."""
    for data, split in dict.fromkeys((each.data, each.split) for each in experiments):
        check_split(keep_champion_folds(split, workspace), data, workspace)


def check_recordings(experiments: Iterable[ExperimentConfig]) -> None:
    """Check the table and the audio files alone, for a flow that makes no split; raises as `check_inputs`."""
    for data in dict.fromkeys(each.data for each in experiments):
        read_recordings(data)
