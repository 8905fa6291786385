"""Stage 2: trains one member on one fold."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birdclef.config.train import TrainConfig
from birdclef.model.weights_identity import identify_weights
from cache.config.features import FeatureConfig
from cache.recordings.catalogue_tables import feature_directory
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

if TYPE_CHECKING:
    from birdclef.strips.fold import FoldData

logger = logging.getLogger(__name__)

VERSION = 6
"""Raise this number by hand when the code gives other weights for the same settings and inputs."""


def train(
    config: TrainConfig,
    split: Path,
    fold: int,
    workspace: Workspace,
    catalogue: Path | None = None,
    background: Path | None = None,
) -> Path:
    """Returns the run directory of one member on one fold; it holds weights and logs.

    A killed run continues from its last checkpoint and ends with the same weights as a run that was not killed. If
    another training or prediction uses the GPU, this waits for it.

    Args:
        config: Settings of the member.
        split: Split directory.
        fold: Validation fold.
        workspace: Workspace that holds the artefacts.
        catalogue: Catalogue of other features of the same recordings; None: the catalogue of the split.
        background: Background for the same features (`cache.background`); None: there is none.

    Raises:
        ValueError, FileNotFoundError: If the backbone, its weights or the fold do not exist.
    """
    store = feature_directory(catalogue, workspace) if catalogue else None
    read = background if config.augment.reads_folder else None
    recipe = run_recipe(config, split, fold, store, read)

    def fit(staging: Path) -> None:
        from birdclef.strips.fold import read_fold  # imported here because it is slow

        _fit(config, read_fold(split, fold, workspace, store, read), fold, workspace, staging)

    return workspace.materialise(recipe, fit, resumable=True)


def run_recipe(
    config: TrainConfig,
    split: Path,
    fold: int,
    store: FeatureDirectory | None = None,
    background: Path | None = None,
) -> Recipe:
    """Returns the recipe of a run. A local weight file is identified by its content, not by its path.

    Settings that only a run with a background reads are left out without one.

    Args:
        config: Settings of the member.
        split: Split directory.
        fold: Validation fold.
        store: Feature directory, if it is not the one of the split's catalogue.
        background: Background that the training reads; None: it reads none.
    """
    identity = config.identity()
    if background is None:
        for name in config.augment.folder_fields:
            del identity["augment"][name]
    identity["model"]["weights"], inputs = identify_weights(config.model.weights)
    inputs["split"] = artefact_key(split)
    if store:
        inputs["features"] = artefact_key(store.path)
    if background:
        inputs["background"] = artefact_key(background)
    return Recipe("runs", {**identity, "fold": fold}, inputs, VERSION)


def _name_weights(config: TrainConfig, features: FeatureConfig) -> str:
    """Returns the source of a run's initial weights; for embeddings, the embedding model and its licence."""
    if features.kind == "embedding":
        return f"embeddings of {features.model.name} ({features.model.licence})"
    return identify_weights(config.model.weights)[0]


def _fit(config: TrainConfig, data: "FoldData", fold: int, workspace: Workspace, staging: Path) -> None:
    # These imports are here because they are slow, and a run that exists already does not need them.
    import torch

    from birdclef.config.feature_kind import check_member
    from birdclef.devices.gpu_lock import alone_on, gpus_in_use
    from birdclef.devices.ranks import run_in_ranks
    from birdclef.model.network import build_model
    from birdclef.model.trained_run import save_run
    from birdclef.training.fit import fit_and_measure

    check_member(config, data.features)
    logger.info(
        "train: fold %d, recordings %d, species %d, %s",
        fold,
        len(data.train),
        len(data.species),
        config.objective.kind,
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build_model(config.model, len(data.species), data.features.channels)
    arguments = (model, data, config, workspace, staging)
    with alone_on(gpus_in_use(config.accelerator, config.devices)):
        if config.devices > 1:
            checkpoint, seconds, peak = run_in_ranks(fit_and_measure, arguments, config.devices)
        else:
            checkpoint, seconds, peak = fit_and_measure(*arguments)
    summary: dict[str, Any] = {
        "fold": fold,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weights": _name_weights(config, data.features),
        "seconds": round(seconds, 1),
        "peak_memory_mb": None if peak is None else round(peak, 1),
    }
    save_run(checkpoint, data, config, staging)
    (staging / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
