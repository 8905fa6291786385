"""Estimates the memory of a training before it starts."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from birdclef.config.train import TrainConfig
from birdclef.model.network import SpeciesModel
from birdclef.strips.residency import ResidentStrips
from birdclef.training.data import TrainingData

_PROBED_VIEWS = (2, 3)
_ADAM_COPIES = 4  # weights, gradients and two moments


@dataclass(frozen=True)
class MemoryPlan:
    """Memory of a training by purpose, bytes.

    Attributes:
        strips: Strips on the device or in host memory; 0 if they are streamed.
        state: Weights, gradients, moments of AdamW, and the weight average.
        views: Crops of a whole batch, before and after augmentation.
        activations: Tensors that the forward pass keeps for the backward pass.
        views_at_a_time: Number of views in a forward pass.
        dtype: Number format of the forward pass.
    """

    strips: int
    state: int
    views: int
    activations: int
    views_at_a_time: int
    dtype: torch.dtype

    @property
    def needed(self) -> int:
        """Memory that training needs besides the strips, bytes."""
        return self.state + self.views + self.activations

    def views_that_fit(self, free: int) -> int:
        """Returns the number of views in a forward pass that free memory allows, a power of two; 0 if none fits.

        Args:
            free: Free memory, bytes.
        """
        room = (free - self.state - self.views) * self.views_at_a_time // max(1, self.activations)
        return 1 << (room.bit_length() - 1) if room > 0 else 0

    def __str__(self) -> str:
        parts = f"strips {_mb(self.strips)}, model and optimiser {_mb(self.state)}, batch {_mb(self.views)}"
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{parts}, activations {_mb(self.activations)} ({self.views_at_a_time} views at a time, {dtype})"


def plan_memory(model: SpeciesModel, training: TrainingData, config: TrainConfig, dtype: torch.dtype) -> MemoryPlan:
    """Returns the memory that training a model needs, extrapolated from the activations of a few views.

    Args:
        model: Model to train; it is not changed.
        training: Training data.
        config: Settings of the member.
        dtype: Number format of the forward pass; any other than float32 uses autocast.
    """
    views = training.batch_recordings * config.views
    own_views = views // config.devices
    at_a_time = min(config.micro_batch or own_views, own_views)
    shape = (1, training.strips.channels, training.crop_frames)
    probe = copy.deepcopy(model).train()
    with torch.random.fork_rng(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        fewer, more = (
            measure_activations(probe, lambda crops: probe.heads(probe.encode(crops)), torch.zeros(count, *shape))
            for count in _PROBED_VIEWS
        )
    parameters = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    values = training.strips.values if isinstance(training.strips, ResidentStrips) else None
    return MemoryPlan(
        strips=0 if values is None else values.numel() * values.element_size(),
        state=parameters * (_ADAM_COPIES + bool(config.ema_decay)),
        views=2 * 4 * views * shape[1] * shape[2],
        activations=fewer + (more - fewer) * (at_a_time - _PROBED_VIEWS[0]),
        views_at_a_time=at_a_time,
        dtype=dtype,
    )


def check_memory(plan: MemoryPlan, free: int) -> None:
    """Refuse a training that does not fit into free memory, before its first step.

    Args:
        plan: Memory of the training; its strips are loaded already.
        free: Free memory of the device, bytes.

    Raises:
        ValueError: If the training does not fit. The message names a `micro_batch` that fits.
    """
    if plan.needed <= free:
        return
    fits = plan.views_that_fit(free)
    remedy = (
        f"Set train.*.micro_batch={fits}."
        if fits
        else "Lower species_per_batch or recordings_per_species, or choose a smaller model.backbone."
    )
    raise ValueError(
        f"A training step needs {_mb(plan.needed)} of memory, and {_mb(free)} are free: model and optimiser "
        f"{_mb(plan.state)}, batch {_mb(plan.views)}, activations {_mb(plan.activations)} of {plan.views_at_a_time} "
        f"views at a time. {remedy}"
    )


def measure_activations(model: nn.Module, forward: Callable[[Tensor], object], crops: Tensor) -> int:
    """Returns the bytes that a forward pass keeps for the backward pass, without the model's own tensors and the input.

    Args:
        model: Model; its parameters and buffers do not count.
        forward: Function that passes crops through the model.
        crops: Input of `forward`; it does not count.
    """
    own = {value.untyped_storage().data_ptr() for value in [*model.parameters(), *model.buffers(), crops]}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that is not detached refers to its graph, which refers to it: never freed

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = forward(crops)  # kept until all storages are counted, so that none is freed and reused
    del outputs
    return sum(kept.values())


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
