"""Supervised contrastive loss."""

import torch
import torch.nn.functional as F
from torch import Tensor


def supcon_loss(embeddings: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Returns the mean supervised contrastive loss over the anchors that have a positive.

    L_out, equation 2 of Khosla et al. 2020 (https://arxiv.org/abs/2004.11362): the rows are all views of all
    recordings, a row's positives P(i) are the other rows of its species, and |P(i)| is counted, never derived. An
    anchor without a positive leaves the mean; if no anchor has one, the loss is 0 with zero gradient.

    Args:
        embeddings: (batch, dim), of any scale and float type: they are L2-normalised here, in float32 at least.
        labels: Species index, (batch,).
        temperature: Softmax temperature, > 0.

    Returns:
        Scalar in nats.
    """
    precise = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    with torch.autocast(embeddings.device.type, enabled=False):
        normalised = F.normalize(precise, dim=1)  # (batch, dim)
        similarity = normalised @ normalised.T / temperature  # (batch, batch)
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        positive = (labels.unsqueeze(0) == labels.unsqueeze(1)) & ~itself  # (batch, batch)
        log_denominator = similarity.masked_fill(itself, torch.finfo(similarity.dtype).min).logsumexp(dim=1)  # (batch,)
        positives = positive.sum(dim=1)  # (batch,)
        mean_similarity = (similarity * positive).sum(dim=1) / positives.clamp(min=1)  # (batch,)
        has_positive = positives > 0
        per_anchor = torch.where(has_positive, log_denominator - mean_similarity, 0.0)  # (batch,)
        return per_anchor.sum() / has_positive.sum().clamp(min=1)
