"""Reads the arms of a comparison as they are written on the command line."""

from birdclef.comparison.arms import ARMS
from flows.configuration.suggestion import suggest

_SAME_FOR_ALL_ARMS = {
    "epochs": "all arms are trained at equal cost: set it with --epochs",
    "max_epochs": "all arms are trained at equal cost: set it with --epochs",
    "steps_per_epoch": "all arms are trained at equal cost: set it for all, as train.*.steps_per_epoch",
    "seed": "all arms have the same seeds: set their number with --seeds",
    "folds": "all arms are compared on the same folds: set it for all, as train.*.folds",
    "select": "an epoch that is chosen on the validation fold makes the score too high: leave it out",
}
"""Settings that an arm may not have, and why."""


def read_arm(arm: str) -> tuple[str, list[str]]:
    """Returns name and settings of an arm; a known arm has none.

    Raises:
        ValueError: If the arm has no name, is unknown, or sets what the comparison sets for all arms.
    """
    name, *settings = arm.split() or [""]
    if not name:
        raise ValueError(f"An arm has no name. Give one of {', '.join(ARMS)}, or 'NAME key=value'.")
    if not settings and name not in ARMS:
        raise ValueError(
            f"There is no arm {name!r}{suggest(name, ARMS) or '.'} Known: {', '.join(ARMS)}. To define another arm, "
            f"give its settings: '{name} objective.temperature=0.2'."
        )
    if settings and name in ARMS:
        raise ValueError(f"{name!r} is a known arm. Choose another name for an arm with settings of your own.")
    for setting in settings:
        if reason := _SAME_FOR_ALL_ARMS.get(setting.partition("=")[0]):
            raise ValueError(f"The arm {name!r} sets {setting}, but {reason}.")
    return name, settings
