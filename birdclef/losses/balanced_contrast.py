"""Balanced contrastive loss for long-tailed data."""

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


class BalancedContrastLoss(nn.Module):
    """L_BCL, section 3.3 of Zhu et al. 2022 (https://arxiv.org/abs/2207.09052), with learnt prototypes.

    Class-complement: the prototype c_k of every class joins the rows. It is a positive for its own species and a
    negative for the others, so that every anchor has a positive. Class-averaging: the denominator takes the mean of the
    exponentials of each class (its rows and its prototype) and sums these means over the classes. So a frequent species
    repels no more than a rare one:

        L_i = -1/|P(i)| sum_{p in P(i)} log( exp(s_ip) / sum_k 1/|A_k(i)| sum_{a in A_k(i)} exp(s_ia) )

    s_ia is z_i · z_a / temperature. A_k(i) holds c_k and the rows of class k other than the anchor. P(i) is A_k(i) of
    the anchor's class. The loss is the mean of L_i over all rows.

    The paper's equation divides every class by |B_k| + 1, also the anchor's own class, although the anchor is not a
    term of it. The official code (https://github.com/FlamieZhu/Balanced-Contrastive-Learning) divides the anchor's
    class by its |B_k| terms, which gives a true mean; this loss does the same. In the official code the prototypes are
    an MLP of the classifier's weights; here they are parameters.

    Rows and prototypes that are linked by a secondary label are neither terms of a class nor counted in it
    (`contrast.exclude_linked`).

    Args:
        prototypes: Initial values of the prototypes, (classes, dim), of any scale.
        temperature: Softmax temperature, > 0.
    """

    def __init__(self, prototypes: Tensor, temperature: float) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(prototypes.clone())
        self.temperature = temperature

    def forward(self, batch: ContrastBatch) -> Tensor:
        """Returns the loss, a scalar in nats."""
        labels, classes = batch.labels, len(self.prototypes)
        with torch.autocast(batch.embeddings.device.type, enabled=False):
            embeddings = normalise(batch.embeddings)  # (batch, dim)
            prototypes = normalise(self.prototypes).to(embeddings.dtype)  # (classes, dim)
            candidates = torch.cat([embeddings, prototypes])  # (batch + classes, dim)
            candidate_labels = torch.cat([labels, torch.arange(classes, device=labels.device)])
            counts = count_classes(labels, classes)
            log_terms = count_terms(batch, counts).to(embeddings.dtype).log()  # (classes, classes)
            positives = sum_by_group(embeddings, labels, classes)[labels] - embeddings + prototypes[labels]
            anchors = embeddings / self.temperature
            weights = weigh_anchors(torch.ones_like(labels, dtype=torch.bool), embeddings.dtype)  # (batch,)
            alike = (anchors * positives).sum(dim=1) / counts[labels]  # (batch,)

            def adjust(logits: Tensor, rows: slice) -> None:
                logits.sub_(log_terms[labels[rows]].gather(1, candidate_labels.expand(len(logits), -1)))
                exclude_itself(logits, rows)
                exclude_linked(logits, rows, batch)

            return weigh_log_partitions(anchors, candidates, weights, adjust) - weights @ alike


def count_terms(batch: ContrastBatch, counts: Tensor) -> Tensor:
    """Returns how many terms each class has in the denominators of anchors of each class, (classes, classes).

    The terms of a class are its prototype and its rows, without the anchor, and without rows in whose recording the
    anchor's species sings too. A class that sings in the anchor's recording is excluded as a whole, so its count does
    not matter.

    Args:
        batch: Labels and secondary species.
        counts: Number of rows of each class, (classes,).
    """
    itself = torch.eye(len(counts), dtype=counts.dtype, device=counts.device)
    terms = counts + 1 - itself
    if batch.secondary is not None:
        others = batch.secondary & (batch.labels.unsqueeze(1) != torch.arange(len(counts), device=counts.device))
        terms = terms - sum_by_group(others.to(counts.dtype), batch.labels, len(counts)).T
    return terms
