"""Cross-entropy of logits to which the class prior is added."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdclef.losses.log_prior import check_log_prior


class LogitAdjustedLoss(nn.Module):
    """Logit-adjusted softmax cross-entropy, equation 10 of Menon et al. 2021 (https://arxiv.org/abs/2007.07314).

        L_i = - sum_k t_ik log( exp(f_ik + tau log prior_k) / sum_j exp(f_ij + tau log prior_j) )

    The adjustment is used in training only. Prediction uses the unadjusted logits f; with tau 1 they minimise the
    balanced error. With tau 0 this is the plain cross-entropy. The paper has one label per sample. Here the targets t
    are soft, and label smoothing turns them into (1 - smoothing) t + smoothing / classes. The loss is the mean of L_i.

    A secondary species of a sample is neither a target nor a negative: it leaves the softmax, the sum over k and the
    classes that share the smoothing. A species with a target stays, as mixup makes the partner's species one.

    Args:
        log_prior: Log of the share of each class among the rows that training draws, (classes,).
        tau: Strength of the adjustment, >= 0.
        label_smoothing: Share of the target that is spread evenly over all classes.

    Raises:
        ValueError: If the share of a class is 0.
    """

    log_prior: Tensor

    def __init__(self, log_prior: Tensor, tau: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("log_prior", check_log_prior(log_prior), persistent=False)
        self.tau = tau
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor, secondary: Tensor | None = None) -> Tensor:
        """Returns the loss, a scalar in nats.

        Args:
            logits: Logits before the adjustment, (batch, classes), of any float type.
            targets: Class probabilities, (batch, classes).
            secondary: Which other species sing in each sample's recording, (batch, classes) bool; None: none.
        """
        with torch.autocast(logits.device.type, enabled=False):
            precise = logits if logits.dtype == torch.float64 else logits.float()
            adjusted = precise + self.tau * self.log_prior.to(precise.dtype)
            wanted = targets.to(precise.dtype)
            if secondary is None:
                return F.cross_entropy(adjusted, wanted, label_smoothing=self.label_smoothing)
            ignored = secondary & (targets == 0)  # (batch, classes)
            log_shares = adjusted.masked_fill(ignored, -torch.inf).log_softmax(dim=1).masked_fill(ignored, 0)
            spread = self.label_smoothing / (~ignored).sum(dim=1, keepdim=True).to(precise.dtype)  # (batch, 1)
            smoothed = (1 - self.label_smoothing) * wanted + spread  # ignored species meet a log share of 0
            return -(smoothed * log_shares).sum(dim=1).mean()
