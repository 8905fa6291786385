"""Checks before anything is computed that a member's pretrained weights can be had."""

from birdclef.config.model import POOLS, ModelConfig
from birdclef.model.weights_identity import identify_weights
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace


def check_weights(config: ModelConfig, workspace: Workspace) -> None:
    """Check that a weight file exists, or that weights of the hub are on this machine or the hub answers.

    The hub is asked only if no run of the workspace began with these weights, because then a training is certain.
    Otherwise all runs may be there, which need neither the weights nor a network.

    Args:
        config: Model of a member.
        workspace: Workspace of the runs.

    Raises:
        FileNotFoundError: If the weights cannot be had.
    """
    identify_weights(config.weights)
    if config.weights == "hub" and config.backbone not in POOLS and not _has_run(config.backbone, workspace):
        from birdclef.model.hub import check_hub  # imported here because timm loads torch

        check_hub(config.backbone)


def _has_run(backbone: str, workspace: Workspace) -> bool:
    """Returns whether a run of the workspace began with the hub's weights of a backbone."""
    models = (read_provenance(run)["config"]["model"] for run in workspace.artefacts("runs"))
    return any(model["weights"] == "hub" and model["backbone"] == backbone for model in models)
