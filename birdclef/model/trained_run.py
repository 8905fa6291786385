"""Saves and loads the model of a run: its weights and the description that rebuilds it."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from birdclef.config.feature_kind import check_window
from birdclef.config.model import ModelConfig
from birdclef.config.train import TrainConfig
from birdclef.model.network import SpeciesModel, build_model
from birdclef.strips.fold import FoldData
from cache.config.features import FeatureConfig, read_features
from cache.config.section import Seconds
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.file_format import DamagedArtefactError, FileFormat, damaged, describe_first
from cache.workspace.provenance import check_files, read_provenance
from cache.workspace.workspace import Workspace


class ModelInput(TypedDict):
    """What a trained model reads and tells apart."""

    species: Annotated[list[str], Field(min_length=1)]
    features: dict[str, Any]
    clip_seconds: Seconds


class _Description(ModelInput, total=False):
    """Content of `model.json`."""

    store: str
    model: dict[str, Any]


_MODULE_PREFIX = "model."
_WEIGHTS, _DESCRIPTION = "weights.safetensors", "model.json"
_FORMAT = FileFormat(
    1,
    frozenset({"species", "features", "store", "clip_seconds", "model"}),
    "Train this model again in a new workspace, or predict with the version that trained it.",
    _Description,
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
        ValueError: If the run's `clip_seconds` is not a multiple of the embedding model's stride, or a window would
            fill the memory.
        DamagedArtefactError: If weights or description are not what was published, or a setting is none that a run can
            have.
        OtherFormatError: If another version of birdclef trained the model.
    """
    check_files(directory, _WEIGHTS, _DESCRIPTION)
    provenance = read_provenance(directory)
    description = _FORMAT.read_whole(directory / _DESCRIPTION)
    config, features = _read_settings(description, directory / _DESCRIPTION)
    check_window(description["clip_seconds"], features)
    model = build_model(config, len(description["species"]), features.channels, load_weights=False)
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


def _read_settings(description: Mapping[str, Any], path: Path) -> tuple[ModelConfig, FeatureConfig]:
    """Returns the settings of the network and of the features."""
    try:
        return ModelConfig.model_validate(description["model"]), read_features(description["features"])
    except ValidationError as error:
        if error.errors()[0]["type"] in ("extra_forbidden", "missing"):
            reason = f"its settings are not those of now, because {describe_first(error)}"
            raise _FORMAT.refuse(path, reason) from error
        raise damaged(path, error) from error
