"""Gradient caching: computes a batch in chunks, with the gradient of the whole batch."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from birdclef.model.network import Heads, SpeciesModel, batch_norms


def heads_in_chunks(model: SpeciesModel, crops: Tensor, micro_batch: int | None) -> Heads:
    """Returns the heads of a batch of crops, computed `micro_batch` crops at a time.

    Gradient caching (Gao et al. 2021, https://arxiv.org/abs/2101.06983): the forward pass keeps only the outputs of the
    heads, so a loss over all pairs reads the whole batch. The backward pass computes each chunk again, with the same
    random numbers, and adds its part of the gradient. So only the activations of one chunk are in memory at a time; the
    price is a second forward pass.

    The gradient is exactly that of the whole batch if batch norm keeps its statistics (`model.frozen_batch_norm`), or
    if the model has none. In training mode, batch norm normalises over its chunk. Then the gradient differs from that
    of the whole batch, and it differs more if there are more chunks. Views in random order make the difference smaller.

    Args:
        model: Model to train.
        crops: (batch, 1, channels, frames).
        micro_batch: Number of crops in a chunk; None: the whole batch at once, without a second forward pass.
    """
    if micro_batch is None or len(crops) <= micro_batch or not torch.is_grad_enabled():
        return model.heads(model.encode(crops))

    def compute(chunk: Tensor) -> tuple[Tensor, Tensor]:
        heads = model.heads(model.encode(chunk))
        return heads.embeddings, heads.logits

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _running_statistics_kept(model)

    outputs = [
        checkpoint(compute, chunk, use_reentrant=False, context_fn=contexts) for chunk in crops.split(micro_batch)
    ]
    embeddings, logits = zip(*outputs, strict=True)
    return Heads(torch.cat(embeddings), torch.cat(logits))


@contextmanager
def _running_statistics_kept(model: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norm while a chunk is computed a second time."""
    norms = batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
