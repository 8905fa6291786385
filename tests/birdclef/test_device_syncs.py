"""What is done on the device for a training step never asks the device for a value: the host would have to wait."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from birdclef.augment.chain import build_augmentation
from birdclef.augment.mixup import mixup
from birdclef.config.objective import ContrastKind, ObjectiveConfig
from birdclef.config.train import TrainConfig
from birdclef.model.network import Heads
from birdclef.strips.fold import FoldData
from birdclef.strips.prefetch import Batch
from birdclef.strips.residency import ResidentStrips
from birdclef.training.data import TrainingData, Views
from birdclef.training.embedding_geometry import alignment, uniformity
from birdclef.training.objective import build_objective
from cache.config.features import LogMelConfig

WAITING = {
    "aten::_local_scalar_dense",  # item(), float(), bool(), a condition
    "aten::nonzero",  # and indexing by a mask
    "aten::masked_select",
    "aten::is_nonzero",
    "aten::equal",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::bincount",
}


class Guard(TorchDispatchMode):
    """Refuses operations whose result's shape or value the host must wait for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        by_mask = name == "aten::index" and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in WAITING or by_mask:
            raise AssertionError(f"{name} makes the host wait")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "wait",
    [
        lambda values: values.sum().item(),
        lambda values: bool(values[0] > 0),
        lambda values: values[values > 0],
        lambda values: values.nonzero(),
        lambda values: torch.masked_select(values, values > 0),
    ],
)
def test_the_guard_catches_what_waits(wait: Callable[[Tensor], object]) -> None:
    values = torch.tensor([1.0, -1.0])
    with Guard(), pytest.raises(AssertionError, match="makes the host wait"):
        wait(values)


@pytest.mark.parametrize("normalisation", ["band_median", "dataset"])
def test_augmentation_asks_the_device_for_nothing(lay_out: Callable[..., ResidentStrips], normalisation: str) -> None:
    generator = torch.Generator().manual_seed(0)
    log_mel = -50 + 10 * torch.randn(8, 1, 16, 40, generator=generator)
    everything = {f"{name}_probability": 0.5 for name in ("gain", "filter", "background", "noise", "mask")}
    config = TrainConfig.model_validate({"model": {"normalisation": normalisation}, "augment": everything})
    strips = lay_out([np.full((100, 16), -50, np.float16)])
    augmentation = build_augmentation(config, LogMelConfig(n_mels=16), strips, -50.0, torch.device("cpu"))
    with Guard():
        augmented = augmentation.augment(log_mel, log_mel.flip(0), generator=generator)
        mixed, _, _ = mixup(augmented, torch.eye(8), 0.4, generator, augmentation.mix)
        augmentation.mask(mixed, generator)


def test_views_are_made_without_waiting(fold_data: FoldData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where crops lie is drawn on the host, so what gathers them may look; from there on nothing does."""
    config = TrainConfig(clip_seconds=2.0, species_per_batch=3, recordings_per_species=2)
    data = TrainingData(fold_data, config, torch.device("cpu"))
    recordings = torch.from_numpy(data.draw_batches(0)[0])
    expected = data.make_views(0, 0, recordings)
    crops = data.gather(Batch(0, 0, tuple(recordings.tolist())))
    monkeypatch.setattr(data, "gather", lambda batch: crops)
    with Guard():
        views = data.make_views(0, 0, recordings)
    assert torch.equal(views.crops, expected.crops)


@pytest.mark.parametrize("contrast", get_args(ContrastKind))
def test_objectives_ask_the_device_for_nothing(contrast: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    targets = torch.nn.functional.one_hot(labels, 3).float()
    secondary = torch.zeros(6, 3, dtype=torch.bool)
    views = Views(torch.empty(6, 1, 1, 1), labels, targets, torch.arange(6) // 2, secondary)
    config = ObjectiveConfig.model_validate({"kind": "joint", "contrast": contrast, "logit_adjustment": 1.0})
    objective = build_objective(config, torch.tensor([0.5, 0.3, 0.2]), 8, generator)
    embeddings = torch.randn(6, 8, generator=generator, requires_grad=True)
    logits = torch.randn(6, 3, generator=generator, requires_grad=True)
    with Guard():
        objective(Heads(embeddings, logits), views, classifying=False)["loss"].backward()
        without = replace(views, secondary=None)
        objective(Heads(embeddings, logits), without, classifying=False)["loss"].backward()
        alignment(embeddings, labels)
        uniformity(embeddings)
