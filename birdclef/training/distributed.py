"""Trains on one batch with several processes.

Every process draws and augments the whole batch, so that its views have the same bits as in a single process. It passes
its own part of the views through the model and gathers the outputs of the others. So every process computes the same
loss, that of the whole batch.
"""

from collections.abc import Iterable
from typing import Any, cast

import timm.layers
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from birdclef.model.network import Heads, SpeciesModel


class GatheredStrategy(DDPStrategy):
    """One process per device, without torch's wrapper around the module: `average_gradients` averages all gradients.

    So recomputed chunks, frozen parts and objectives that do not use a head need no special case.
    """

    def __init__(self) -> None:
        super().__init__(cluster_environment=LightningEnvironment())

    def configure_ddp(self) -> None:
        """Leave the module without a wrapper."""


def rank() -> int:
    """Returns the rank of this process among the processes that train together; 0 if it trains alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """Returns the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def own_part(batch: Tensor) -> Tensor:
    """Returns this process's part of a batch, (batch / ranks, ...)."""
    return batch.chunk(ranks())[rank()]


def gather_heads(heads: Heads) -> Heads:
    """Returns the heads of the whole batch, (batch, ...), gathered from all processes; gradients flow back."""
    if ranks() == 1:
        return heads
    return Heads(gather(heads.embeddings), gather(heads.logits))


def gather(part: Tensor) -> Tensor:
    """Returns the parts of all processes one after the other, (ranks * n, ...).

    The gradient of a part goes to the process of the part. It is multiplied by the number of processes, because
    `average_gradients` divides by this number.
    """
    gathered: Tensor = _Gather.apply(part)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:  # noqa: ARG004 - autograd's argument
        whole = part.new_empty((ranks() * len(part), *part.shape[1:]))
        dist.all_gather_single(whole, part.contiguous())
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004 - autograd's argument
        return own_part(gradients[0]) * ranks()


def synchronise_batch_norm(model: SpeciesModel) -> SpeciesModel:
    """Returns the model with batch norms that normalise over the views of all processes; weights keep their names."""
    # torch's own conversion loses the activation inside timm's norm layers.
    return cast("SpeciesModel", timm.layers.convert_sync_batchnorm(model))  # type: ignore[attr-defined,no-untyped-call]


def average_gradients(module: nn.Module) -> None:
    """Replace the gradients of a module by their mean over all processes; all processes must have the same loss."""
    _average([parameter.grad for parameter in module.parameters() if parameter.grad is not None])


def average_statistics(module: nn.Module) -> None:
    """Replace the running statistics of a module's batch norms by their mean over all processes."""
    _average([buffer for buffer in module.buffers() if buffer.is_floating_point()])


@torch.no_grad()
def _average(tensors: Iterable[Tensor]) -> None:
    own = list(tensors)
    if ranks() == 1 or not own:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in own])
    dist.all_reduce(flat)
    flat /= ranks()
    for tensor, mean in zip(own, flat.split([tensor.numel() for tensor in own]), strict=True):
        tensor.copy_(mean.view_as(tensor))
