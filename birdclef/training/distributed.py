"""One batch over several processes: each passes its part of the views through the model, all see the whole batch.

Every process draws and augments the whole batch, so its views are those of a single process to the bit. It passes its
part through the model and gathers what the others got. The loss is that of the whole batch, the same in every process.
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
    """One process per device without torch's wrapper around the module: gradients are averaged in one go afterwards.

    So recomputed chunks, frozen parts and objectives that leave a head out need no special case.
    """

    def __init__(self) -> None:
        super().__init__(cluster_environment=LightningEnvironment())

    def configure_ddp(self) -> None:
        """Leave the module as it is."""


def rank() -> int:
    """Returns the number of this process among those that train together; 0 if it trains alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """Returns how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def own_part(batch: Tensor) -> Tensor:
    """Returns this process's part of a batch, (batch / ranks, ...)."""
    return batch.chunk(ranks())[rank()]


def gather_heads(heads: Heads) -> Heads:
    """Returns the heads of the whole batch, (batch, ...), from those of each process's part; gradients flow back."""
    if ranks() == 1:
        return heads
    return Heads(gather(heads.embeddings), gather(heads.logits))


def gather(part: Tensor) -> Tensor:
    """Returns the parts of all processes one after the other, (ranks * n, ...); the gradient of each goes home.

    The gradient is scaled by the number of processes, because `average_gradients` divides by it.
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
    # torch's own conversion forgets the activation that timm's norm layers hold.
    return cast("SpeciesModel", timm.layers.convert_sync_batchnorm(model))  # type: ignore[attr-defined,no-untyped-call]


def average_gradients(module: nn.Module) -> None:
    """Replace the gradients of a module by their mean over all processes; the loss must be the same in all of them."""
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
