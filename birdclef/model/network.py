"""Backbone, projection head and classifier."""

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import timm.models
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from birdclef.config.model import POOLS, ModelConfig
from birdclef.model.efficientnet_names import rename_for_timm
from birdclef.model.hub import check_hub, missing_weights
from birdclef.model.normalisation import normalise
from birdclef.model.pooling import WindowPool
from birdclef.model.weights_identity import weights_file

logger = logging.getLogger(__name__)

_BATCH_COUNTER = "num_batches_tracked"
"""Buffer of batch norm that has no effect on what it computes; old PyTorch did not save it."""


@dataclass(frozen=True)
class Heads:
    """Outputs of the two heads for a batch.

    Attributes:
        embeddings: Output of the projection head, (batch, dim).
        logits: Output of the classifier, (batch, classes).
    """

    embeddings: Tensor
    logits: Tensor


class SpeciesModel(nn.Module):
    """A backbone with a projection head for the contrastive loss and a linear classifier.

    With `dataset` or `channel` normalisation the input is standardised with the mean and deviation of the training
    strips, which are saved with the weights. With `band_median` each band's median over the crop is subtracted.

    Args:
        backbone: Module with the attribute `num_features`, the width of its pooled features.
        config: Settings of the heads and of the normalisation.
        classes: Number of species.
        channels: Values of a strip per frame; only `channel` normalisation needs them.
    """

    mean_db: Tensor
    deviation_db: Tensor

    def __init__(self, backbone: nn.Module, config: ModelConfig, classes: int, channels: int | None = None) -> None:
        super().__init__()
        self.normalisation = config.normalisation
        self.backbone = backbone
        width = int(backbone.num_features)  # type: ignore[arg-type]
        hidden, dim = config.projection_hidden, config.projection_dim
        self.projection = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(width if config.classifier_on == "features" else dim, classes)
        self.classifier_on = config.classifier_on
        shape = (channels or 1, 1) if config.normalisation == "channel" else ()
        self.register_buffer("mean_db", torch.full(shape, -30.0))
        self.register_buffer("deviation_db", torch.full(shape, 20.0))

    def encode(self, crops: Tensor) -> Tensor:
        """Returns pooled backbone features, (batch, width), of crops, (batch, 1, channels, frames)."""
        normalised = normalise(crops, self.normalisation, self.mean_db, self.deviation_db)
        features: Tensor = self.backbone(normalised.contiguous(memory_format=torch.channels_last))
        return features

    def heads(self, features: Tensor) -> Heads:
        """Returns embeddings and logits for pooled features, (batch, width)."""
        embeddings = self.projection(features)  # (batch, dim)
        classified = features if self.classifier_on == "features" else embeddings
        return Heads(embeddings, self.classifier(self.dropout(classified)))

    def forward(self, crops: Tensor) -> Tensor:
        """Returns logits, (batch, classes), of crops, (batch, 1, channels, frames)."""
        return self.heads(self.encode(crops)).logits

    def set_input_statistics(self, mean_db: Tensor | float, deviation_db: Tensor | float) -> None:
        """Set the mean and the deviation that standardise the input.

        Args:
            mean_db: Mean of each channel, (channels, 1), or of all values.
            deviation_db: Standard deviation of each channel, (channels, 1), or of all values.
        """
        self.mean_db.copy_(torch.as_tensor(mean_db))
        self.deviation_db.copy_(torch.as_tensor(deviation_db))


def build_model(
    config: ModelConfig, classes: int, channels: int | None = None, *, load_weights: bool = True
) -> SpeciesModel:
    """Returns a model whose backbone has the configured weights.

    Args:
        config: Settings of the backbone and the heads.
        classes: Number of species.
        channels: Values of a strip per frame; only pools and `channel` normalisation need them.
        load_weights: False leaves the backbone with random weights, because the caller loads all weights.

    Raises:
        ValueError: If timm has no such backbone, or a weight file does not fit it.
        FileNotFoundError: If there is no such weight file, or the hub's weights cannot be downloaded.
    """
    if config.backbone in POOLS:
        if channels is None:
            raise ValueError(f"model.backbone={config.backbone} needs to know the width of the embeddings.")
        backbone: nn.Module = WindowPool(channels, config.pool_hidden, config.dropout, config.backbone)
    else:
        backbone = _build_timm_backbone(config, load_weights=load_weights)
    model = SpeciesModel(backbone, config, classes, channels)
    return model.to(memory_format=torch.channels_last)  # makes convolutions on a CPU 1.2 to 1.8 times faster


def _build_timm_backbone(config: ModelConfig, *, load_weights: bool) -> nn.Module:
    backbone = create_backbone(config.backbone, config.drop_path, pretrained=load_weights and config.weights == "hub")
    if load_weights and config.weights not in ("none", "hub"):
        load_backbone_weights(backbone, weights_file(config.weights))
    if load_weights and config.weights == "none":
        logger.warning("%s: weights=none, the backbone is trained from scratch", config.backbone)
    return backbone


def check_backbone(name: str) -> None:
    """Check that timm has a model of a name.

    Raises:
        ValueError: If it has none; the message suggests similar names.
    """
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=5)) or "see timm.list_models()"
        raise ValueError(f"timm has no model {name!r}. Near names: {near}.")


def create_backbone(name: str, drop_path: float, *, pretrained: bool) -> nn.Module:
    """Returns a timm backbone with one input channel and no classifier.

    Raises:
        ValueError: If timm has no model of that name; the message suggests similar names.
        FileNotFoundError: If pretrained weights cannot be downloaded.
    """
    check_backbone(name)
    if pretrained:
        check_hub(name)
    settings: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=pretrained, in_chans=1, num_classes=0, **settings)
    except Exception as error:
        if not pretrained:
            raise
        raise missing_weights(name, error) from error
    return backbone


def load_backbone_weights(backbone: nn.Module, path: Path) -> None:
    """Load a local weight file (safetensors, or a state dict saved by torch) into a one-channel backbone.

    A classifier in the file is ignored. A three-channel stem is summed to one channel, as timm does. Batch norm's count
    of batches may be missing, because it has no effect. The file may have the names of `efficientnet_pytorch`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no weights, or names or shapes do not fit; the message names the first of them.
    """
    state = backbone.state_dict()
    loaded = rename_for_timm(_read_weight_file(path), state)
    wanted = {
        name: value for name, value in state.items() if name in loaded or name.rpartition(".")[2] != _BATCH_COUNTER
    }
    for name, value in wanted.items():
        if name in loaded and _is_colour_stem(loaded[name], value):
            loaded[name] = loaded[name].sum(dim=1, keepdim=True)
    faults = [f"{name} is missing" for name in wanted if name not in loaded]
    faults += [
        f"{name}: {tuple(loaded[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in loaded and loaded[name].shape != value.shape
    ]
    if faults:
        raise ValueError(
            f"{path} does not fit the backbone: {'; '.join(faults[:5])}"
            f"{f'; and {len(faults) - 5} more' if len(faults) > 5 else ''}. Give weights of the same timm model."
        )
    backbone.load_state_dict({name: loaded[name] for name in wanted})  # torch sets a missing count to 0


def _is_colour_stem(loaded: Tensor, wanted: Tensor) -> bool:
    return loaded.ndim == wanted.ndim == 4 and (loaded.shape[1], wanted.shape[1]) == (3, 1)


def _read_weight_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f"model.weights={path} is no file. Set train.NAME.model.weights of the member NAME to `none`, `hub` or the "
            "path of a weight file."
        )
    try:
        loaded: dict[str, Tensor] = timm.models.load_state_dict(str(path), weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is not a readable weight file ({type(error).__name__}: {error}). "
            "Give a safetensors file or a state dict saved by torch."
        ) from error
    return loaded


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Returns the batch norms inside a module that keep running statistics."""
    return [one for one in module.modules() if isinstance(one, _BatchNorm) and one.track_running_stats]


def freeze_stages(backbone: nn.Module, stages: int) -> list[nn.Module]:
    """Freeze the stem and the first `stages - 1` stages; returns the modules that must stay in eval mode.

    Raises:
        ValueError: If the backbone has fewer stages.
    """
    if not stages:
        return []
    matcher = backbone.group_matcher(coarse=True)  # type: ignore[operator]
    groups = timm.models.group_parameters(backbone, matcher)
    order = sorted(groups)
    if stages > len(order):
        raise ValueError(
            f"model.frozen_stages={stages}, but the backbone has {len(order)} stages (the stem counts as one). "
            f"Set model.frozen_stages to {len(order)} or less."
        )
    frozen = {name for group in order[:stages] for name in groups[group]}
    for name, parameter in backbone.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    return [
        module
        for module in backbone.modules()
        if (inside := list(module.parameters())) and not any(parameter.requires_grad for parameter in inside)
    ]
