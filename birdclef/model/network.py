"""Backbone, projection head and classifier."""

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
import timm.models
import torch
from torch import Tensor, nn

from birdclef.config.model import POOLS, ModelConfig, Normalisation
from birdclef.model.pooling import WindowPool

logger = logging.getLogger(__name__)

_BAND_SCALE_DB = 10.0


@dataclass(frozen=True)
class Heads:
    """What the heads say about a batch.

    Attributes:
        embeddings: Of the projection head, (batch, dim).
        logits: Of the classifier, (batch, classes).
    """

    embeddings: Tensor
    logits: Tensor


class SpeciesModel(nn.Module):
    """A timm backbone with a projection head for the contrastive loss and a linear classifier.

    With `dataset` or `channel` normalisation the input is standardised with the statistics of the training strips,
    which travel with the weights; with `band_median` each band is taken relative to its median over the crop.
    """

    mean_db: Tensor
    deviation_db: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        projection: tuple[int, int],
        classifier_on: Literal["features", "embedding"],
        normalisation: Normalisation,
        dropout: float,
        channels: int | None = None,
    ) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.backbone = backbone
        width = int(backbone.num_features)  # type: ignore[arg-type]
        hidden, dim = projection
        self.projection = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width if classifier_on == "features" else dim, classes)
        self.classifier_on = classifier_on
        shape = (channels or 1, 1) if normalisation == "channel" else ()
        self.register_buffer("mean_db", torch.full(shape, -30.0))
        self.register_buffer("deviation_db", torch.full(shape, 20.0))

    def encode(self, crops: Tensor) -> Tensor:
        """Returns pooled backbone features, (batch, width), of crops, (batch, 1, channels, frames)."""
        if self.normalisation != "band_median":
            normalised = (crops - self.mean_db) / self.deviation_db
        else:
            normalised = (crops - crops.median(dim=3, keepdim=True).values) / _BAND_SCALE_DB
        features: Tensor = self.backbone(normalised.contiguous(memory_format=torch.channels_last))
        return features

    def heads(self, features: Tensor) -> Heads:
        """Returns embeddings and logits of pooled features, (batch, width)."""
        embeddings = self.projection(features)  # (batch, dim)
        classified = features if self.classifier_on == "features" else embeddings
        return Heads(embeddings, self.classifier(self.dropout(classified)))

    def forward(self, crops: Tensor) -> Tensor:
        """Returns logits, (batch, classes), of crops, (batch, 1, channels, frames)."""
        return self.heads(self.encode(crops)).logits

    def set_input_statistics(self, mean_db: Tensor | float, deviation_db: Tensor | float) -> None:
        """Standardise inputs with mean and deviation of the training strips, of all values or each channel's own.

        Args:
            mean_db: (channels, 1), or one number.
            deviation_db: The same.
        """
        self.mean_db.copy_(torch.as_tensor(mean_db))
        self.deviation_db.copy_(torch.as_tensor(deviation_db))


def build_model(
    config: ModelConfig, classes: int, channels: int | None = None, *, load_weights: bool = True
) -> SpeciesModel:
    """Returns a model with the configured weights in its backbone.

    Args:
        config: Backbone and heads.
        classes: Number of species.
        channels: Values of a strip per frame; a pool, and `channel` normalisation, need to know.
        load_weights: False leaves the backbone as initialised, for weights that the caller loads.

    Raises:
        ValueError: If timm has no such backbone, or a weight file does not fit it.
        FileNotFoundError: If there is no such weight file.
    """
    if config.backbone in POOLS:
        if channels is None:
            raise ValueError(f"model.backbone={config.backbone} needs to know the width of the embeddings.")
        backbone: nn.Module = WindowPool(channels, config.pool_hidden, config.dropout, config.backbone)
    else:
        backbone = _build_timm_backbone(config, load_weights=load_weights)
    projection = (config.projection_hidden, config.projection_dim)
    model = SpeciesModel(
        backbone, classes, projection, config.classifier_on, config.normalisation, config.dropout, channels
    )
    return model.to(memory_format=torch.channels_last)  # 1.2 to 1.8 times faster convolutions on a CPU


def _build_timm_backbone(config: ModelConfig, *, load_weights: bool) -> nn.Module:
    backbone = create_backbone(config.backbone, config.drop_path, pretrained=load_weights and config.weights == "hub")
    if load_weights and config.weights not in ("none", "hub"):
        load_backbone_weights(backbone, Path(config.weights))
    if load_weights and config.weights == "none":
        logger.warning("%s: weights=none, the backbone is trained from scratch", config.backbone)
    return backbone


def create_backbone(name: str, drop_path: float, *, pretrained: bool) -> nn.Module:
    """Returns a timm backbone with one input channel and no classifier.

    Raises:
        ValueError: If timm has no model of that name; near names are suggested.
        RuntimeError: If pretrained weights cannot be fetched.
    """
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=5)) or "see timm.list_models()"
        raise ValueError(f"timm has no model {name!r}. Near names: {near}.")
    settings: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=pretrained, in_chans=1, num_classes=0, **settings)
    except Exception as error:
        if not pretrained:
            raise
        raise RuntimeError(
            f"The pretrained weights of {name} could not be fetched from the hub ({type(error).__name__}: {error}). "
            "Give a local file as model.weights, or train from scratch with model.weights=none."
        ) from error
    return backbone


def load_backbone_weights(backbone: nn.Module, path: Path) -> None:
    """Load a local weight file (safetensors, or a state dict saved by torch) into a one-channel backbone.

    A classifier in the file is left out, and a three-channel stem is summed to one channel, as timm does.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not one of weights, or names or shapes do not fit; the first ones are named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"model.weights={path}: no such file. Give `none`, `hub` or the path of a weight file.")
    try:
        loaded: dict[str, Tensor] = timm.models.load_state_dict(str(path), weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is not a readable weight file ({type(error).__name__}: {error}). "
            "Give a safetensors file or a state dict saved by torch."
        ) from error
    wanted = backbone.state_dict()
    for name, value in loaded.items():
        if (
            name in wanted
            and value.ndim == wanted[name].ndim == 4
            and (value.shape[1], wanted[name].shape[1]) == (3, 1)
        ):
            loaded[name] = value.sum(dim=1, keepdim=True)
    missing = [name for name in wanted if name not in loaded]
    wrong = [
        f"{name}: {tuple(loaded[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in loaded and loaded[name].shape != value.shape
    ]
    if missing or wrong:
        faults = [*(f"{name} is missing" for name in missing), *wrong]
        raise ValueError(
            f"{path} does not fit the backbone: {'; '.join(faults[:5])}"
            f"{f'; and {len(faults) - 5} more' if len(faults) > 5 else ''}. Give weights of the same timm model."
        )
    backbone.load_state_dict({name: loaded[name] for name in wanted})


def freeze_stages(backbone: nn.Module, stages: int) -> list[nn.Module]:
    """Stop the stem and the first `stages - 1` stages from learning; returns the modules that must stay in eval mode.

    Raises:
        ValueError: If the backbone has fewer stages.
    """
    if not stages:
        return []
    matcher = backbone.group_matcher(coarse=True)  # type: ignore[operator]
    groups = timm.models.group_parameters(backbone, matcher)
    order = sorted(groups)
    if stages > len(order):
        raise ValueError(f"model.frozen_stages={stages}, but the backbone has {len(order)} (the stem counts as one).")
    frozen = {name for group in order[:stages] for name in groups[group]}
    for name, parameter in backbone.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    return [
        module
        for module in backbone.modules()
        if (inside := list(module.parameters())) and not any(parameter.requires_grad for parameter in inside)
    ]
