"""Saves and loads the model of a run: its weights and the description that rebuilds it."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from birdclef.config.feature_kind import check_seconds
from birdclef.config.train import TrainConfig
from birdclef.model.network import SpeciesModel, build_model
from birdclef.strips.fold import FoldData
from cache.config.features import FeatureConfig, read_features
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.file_format import DamagedArtefactError, FileFormat
from cache.workspace.provenance import check_files, read_provenance
from cache.workspace.workspace import Workspace

_MODULE_PREFIX = "model."
_WEIGHTS, _DESCRIPTION = "weights.safetensors", "model.json"
_FORMAT = FileFormat(
    1,
    frozenset({"species", "features", "store", "clip_seconds", "model"}),
    "Train this model again in a new workspace, or predict with the version that trained it.",
)


@dataclass(frozen=True)
class TrainedRun:
    """A trained model that is ready to predict.

    Attributes:
        model: Model in eval mode.
        species: Species codes in the order of the label indices.
        features: Front end that produces the model's input.
        clip_seconds: Length of a window, s.
        fold: Validation fold; the model has not seen its recordings.
        split: Artefact key of the split.
        store: Feature directory of the training strips. For embeddings it holds the embedding model.
    """

    model: SpeciesModel
    species: list[str]
    features: FeatureConfig
    clip_seconds: float
    fold: int
    split: str
    store: FeatureDirectory


def save_run(checkpoint: Path, fold: FoldData, config: TrainConfig, directory: Path) -> None:
    """Write `weights.safetensors` and `model.json` from a Lightning checkpoint.

    With `ema_decay` above 0 the checkpoint holds the averaged weights.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    tensors = {
        name.removeprefix(_MODULE_PREFIX): value.contiguous()
        for name, value in state.items()
        if name.startswith(_MODULE_PREFIX)
    }
    weights = directory / _WEIGHTS
    save_file(tensors, weights)
    # safetensors lets only the owner read, but another user may serve a report
    with suppress(PermissionError):  # exFAT and FAT have no permissions of single files
        weights.chmod(0o644)
    description = {
        "format": _FORMAT.number,
        "species": fold.species,
        "features": fold.features.identity(),
        "store": fold.store.key,
        "clip_seconds": config.clip_seconds,
        "model": config.model.model_dump(mode="json"),
    }
    (directory / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def load_run(directory: Path, workspace: Workspace, device: torch.device) -> TrainedRun:
    """Returns the model of a finished run, on a device.

    Raises:
        ValueError: If the run's `clip_seconds` is not a multiple of the embedding model's stride.
        DamagedArtefactError: If weights or description are not what was published.
        OtherFormatError: If another version of birdclef trained the model.
    """
    check_files(directory, _WEIGHTS, _DESCRIPTION)
    provenance = read_provenance(directory)
    description = _FORMAT.read_whole(directory / _DESCRIPTION)
    try:
        config = TrainConfig(model=description["model"])
        features = read_features(description["features"])
    except ValidationError as error:
        raise _FORMAT.refuse(directory / _DESCRIPTION, f"its settings are not those of now: {error}") from error
    check_seconds("clip_seconds", description["clip_seconds"], features)
    model = build_model(config.model, len(description["species"]), features.channels, load_weights=False)
    try:
        model.load_state_dict(load_file(directory / _WEIGHTS))
    except SafetensorError as error:
        raise DamagedArtefactError(
            f"{directory / _WEIGHTS} holds no weights ({error}). Train the run again."
        ) from error
    return TrainedRun(
        model.to(device).eval(),
        description["species"],
        features,
        description["clip_seconds"],
        provenance["config"]["fold"],
        provenance["inputs"]["split"],
        workspace.feature_directory(description["store"]),
    )
