"""Cross-entropy of logits that are adjusted by the class prior."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdclef.losses.class_prior import check_log_prior
from birdclef.losses.contrast import Reduction


class LogitAdjustedLoss(nn.Module):
    """Logit-adjusted softmax cross-entropy, equation 10 of Menon et al. 2021 (https://arxiv.org/abs/2007.07314).

        L_i = - sum_k t_ik log( exp(f_ik + tau log prior_k) / sum_j exp(f_ij + tau log prior_j) )

    The adjustment is for training only; the unadjusted logits f are what predicts, and with tau 1 they aim at the
    balanced error. With tau 0 this is the plain cross-entropy. The paper has one label per sample; soft targets t take
    its place here, and label smoothing makes them (1 - smoothing) t + smoothing / classes.

    Args:
        log_prior: Log of the share of each class among the rows that training draws, (classes,).
        tau: Strength of the adjustment, >= 0.
        label_smoothing: Share that is spread over all classes.
        reduction: Over all rows.

    Raises:
        ValueError: If a class has no share.
    """

    log_prior: Tensor

    def __init__(
        self, log_prior: Tensor, tau: float = 1.0, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.register_buffer("log_prior", check_log_prior(log_prior), persistent=False)
        self.tau = tau
        self.label_smoothing = label_smoothing
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss, a scalar in nats.

        Args:
            logits: Unadjusted, (batch, classes), of any float type.
            targets: Class probabilities, (batch, classes).
        """
        with torch.autocast(logits.device.type, enabled=False):
            precise = logits if logits.dtype == torch.float64 else logits.float()
            adjusted = precise + self.tau * self.log_prior.to(precise.dtype)
            return F.cross_entropy(
                adjusted, targets.to(precise.dtype), label_smoothing=self.label_smoothing, reduction=self.reduction
            )
