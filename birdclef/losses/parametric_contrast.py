"""Parametric contrastive loss: pairs of rows and learnt class centres in one softmax."""

import torch
from torch import Tensor, nn

from birdclef.losses.class_prior import check_log_prior
from birdclef.losses.contrast import (
    ContrastBatch,
    Reduction,
    count_classes,
    exclude_itself,
    exclude_linked,
    normalise,
    sum_by_group,
    weigh_anchors,
)
from birdclef.losses.log_partition import weigh_log_partitions


class ParametricContrastLoss(nn.Module):
    """PaCo of Cui et al. 2021 (section 3 of https://arxiv.org/abs/2107.12028), without the momentum queue.

        L_i = - sum_{p in P(i) + {c_y}} w_p log( exp(s_ip) / (sum_{a != i} exp(s_ia) + sum_k exp(s_ik)) )

    P(i) are the other rows of the anchor's class; w is `alpha` for them and `beta`, in the paper 1, for the centre c_y
    of the class. A row's logit is s_ia = z_i · z_a / temperature, a centre's s_ik = z_i · c_k / temperature + log
    prior_k: rebalanced as in balanced softmax, so that a rare class has to stand apart by a larger margin. Every anchor
    has its centre, so none is an orphan.

    The paper sums over positives, as this does; the official code
    (https://github.com/dvlab-research/Parametric-Contrastive-Learning) divides by alpha |P(i)| + beta, and adds 1e-9 to
    the priors. Its centres are a linear classifier on backbone features without a temperature; here they are
    directions among the embeddings, at the temperature of the pairs. With a queue, only new rows are anchors there.

    Rows and centres linked by a secondary label are ignored (`contrast.exclude_linked`).

    Args:
        centres: Their initial values, (classes, dim), of any scale.
        log_prior: Log of the share of each class among the rows that training draws, (classes,).
        temperature: Softmax temperature, > 0.
        alpha: Weight of a pair.
        beta: Weight of the centre.
        reduction: Over all rows.

    Raises:
        ValueError: If a class has no share.
    """

    log_prior: Tensor

    def __init__(
        self,
        centres: Tensor,
        log_prior: Tensor,
        temperature: float,
        alpha: float = 0.05,
        beta: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres.clone())
        self.register_buffer("log_prior", check_log_prior(log_prior), persistent=False)
        self.temperature = temperature
        self.alpha = alpha
        self.beta = beta
        self.reduction: Reduction = reduction

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
            alike = (anchors * (self.alpha * pairs + self.beta * centres[labels])).sum(dim=1)  # (batch,)
            weights = weigh_anchors(torch.ones_like(labels, dtype=torch.bool), self.reduction, embeddings.dtype)
            weight = self.alpha * (counts[labels] - 1) + self.beta  # (batch,)

            def adjust(logits: Tensor, rows: slice) -> None:
                logits[:, len(labels) :].add_(log_prior)
                exclude_itself(logits, rows)
                exclude_linked(logits, rows, batch)

            partitions = weigh_log_partitions(anchors, torch.cat([embeddings, centres]), weights * weight, adjust)
            return partitions - weights @ (alike + self.beta * log_prior[labels])
