"""Checks before anything is computed that a member's backbone exists and that its pretrained weights can be had."""

from birdclef.config.model import POOLS, ModelConfig
from birdclef.model.weights_identity import identify_weights
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace


def check_model(config: ModelConfig, workspace: Workspace) -> None:
    """Check that timm has the backbone, and that the weights can be had: file, local copy, or hub.

    timm and the hub are asked only if no run of the workspace began with them, because then a training is certain.
    Otherwise all runs may be there, which need neither the weights nor a network, and loading timm takes seconds.

    Args:
        config: Model of a member.
        workspace: Workspace of the runs.

    Raises:
        ValueError: If timm has no such backbone.
        FileNotFoundError: If the weights cannot be had.
    """
    identify_weights(config.weights)
    if config.backbone in POOLS or _has_run(config, workspace):
        return
    from birdclef.model.hub import check_hub  # imported here because timm loads torch
    from birdclef.model.network import check_backbone

    check_backbone(config.backbone)
    if config.weights == "hub":
        check_hub(config.backbone)


def _has_run(config: ModelConfig, workspace: Workspace) -> bool:
    """Returns whether a run of the workspace began with a backbone, and with the hub's weights if they are wanted."""
    models = (read_provenance(run)["config"]["model"] for run in workspace.artefacts("runs"))
    return any(
        model["backbone"] == config.backbone and (config.weights != "hub" or model["weights"] == "hub")
        for model in models
    )
