"""Pretrained weights as part of what an artefact is made from."""

from pathlib import Path

from cache.workspace.artefact import file_key


def identify_weights(weights: str) -> tuple[str, dict[str, str]]:
    """Returns what stands for `model.weights` in a recipe, and its input: a local file counts by its content.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if weights in ("none", "hub"):
        return weights, {}
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"model.weights={path}: no such file. Give `none`, `hub` or the path of a weight file.")
    return "local", {"weights": file_key(path)}
