"""Identity of pretrained weights in the recipe of an artefact."""

from pathlib import Path

from cache.workspace.keys import file_key
from cache.workspace.urls import expand_home


def identify_weights(weights: str) -> tuple[str, dict[str, str]]:
    """Returns the value of `model.weights` for a recipe, and the recipe's inputs.

    A local file is identified by its content, not by its path.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if weights in ("none", "hub"):
        return weights, {}
    path = weights_file(weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"model.weights={path} is no file. Set train.NAME.model.weights of the member NAME to `none`, `hub` or the "
            "path of a weight file."
        )
    return "local", {"weights": file_key(path)}


def weights_file(weights: str) -> Path:
    """Returns the path of the weight file that `model.weights` names."""
    return expand_home(weights)
