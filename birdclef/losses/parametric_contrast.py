"""Parametric contrastive loss: rows and learnt class centres in one softmax."""

import torch
from torch import Tensor, nn

from birdclef.losses.contrast import (
    ContrastBatch,
    count_classes,
    exclude_itself,
    exclude_linked,
    normalise,
    sum_by_group,
    weigh_anchors,
)
from birdclef.losses.log_partition import weigh_log_partitions
from birdclef.losses.log_prior import check_log_prior

_PAIR_WEIGHT = 0.05
"""Weight of a pair of rows; the paper's alpha. The weight of the centre, the paper's beta, is 1."""


class ParametricContrastLoss(nn.Module):
    """PaCo of Cui et al. 2021 (section 3 of https://arxiv.org/abs/2107.12028), without the momentum queue.

        L_i = - sum_{p in P(i) + {c_y}} w_p log( exp(s_ip) / (sum_{a != i} exp(s_ia) + sum_k exp(s_ik)) )

    P(i) are the other rows of the anchor's class, with weight w = 0.05 (the paper's alpha). c_y is the centre of the
    class, with weight 1 (the paper's beta). The logit of a row is s_ia = z_i · z_a / temperature. The logit of a centre
    is s_ik = z_i · c_k / temperature + log prior_k, as in balanced softmax, so that a rare class needs a larger margin.
    Every anchor has its centre, so every anchor has a positive. The loss is the mean of L_i over all rows.

    The paper sums over positives, and so does this loss. The official code
    (https://github.com/dvlab-research/Parametric-Contrastive-Learning) divides by alpha |P(i)| + beta, and adds 1e-9 to
    the priors. Its centres are a linear classifier on backbone features without a temperature. Here the centres are
    directions among the embeddings and share the temperature of the pairs. The official code has a queue, and only rows
    outside the queue are anchors.

    Rows and centres that are linked by a secondary label are ignored (`contrast.exclude_linked`).

    Args:
        centres: Initial values of the centres, (classes, dim), of any scale.
        log_prior: Log of the share of each class among the rows that training draws, (classes,).
        temperature: Softmax temperature, > 0.

    Raises:
        ValueError: If the share of a class is 0.
    """

    log_prior: Tensor

    def __init__(self, centres: Tensor, log_prior: Tensor, temperature: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres.clone())
        self.register_buffer("log_prior", check_log_prior(log_prior), persistent=False)
        self.temperature = temperature

    def forward(self, batch: ContrastBatch) -> Tensor:
        """Returns the loss, a scalar in nats."""
        labels, classes = batch.labels, len(self.centres)
        with torch.autocast(batch.embeddings.device.type, enabled=False):
            embeddings = normalise(batch.embeddings)  # (batch, dim)
            centres = normalise(self.centres).to(embeddings.dtype)  # (classes, dim)
            log_prior = self.log_prior.to(embeddings.dtype)
            counts = count_classes(labels, classes).to(embeddings.dtype)
            pairs = sum_by_group(embeddings, labels, classes)[labels] - embeddings  # (batch, dim)
            anchors = embeddings / self.temperature
            alike = (anchors * (_PAIR_WEIGHT * pairs + centres[labels])).sum(dim=1)  # (batch,)
            weights = weigh_anchors(torch.ones_like(labels, dtype=torch.bool), embeddings.dtype)  # (batch,)
            weight = _PAIR_WEIGHT * (counts[labels] - 1) + 1  # (batch,)

            def adjust(logits: Tensor, rows: slice) -> None:
                logits[:, len(labels) :].add_(log_prior)
                exclude_itself(logits, rows)
                exclude_linked(logits, rows, batch)

            partitions = weigh_log_partitions(anchors, torch.cat([embeddings, centres]), weights * weight, adjust)
            return partitions - weights @ (alike + log_prior[labels])
