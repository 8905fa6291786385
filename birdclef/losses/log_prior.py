"""The share of each class among the training rows."""

from torch import Tensor


def check_log_prior(log_prior: Tensor) -> Tensor:
    """Returns the log of the share of each class unchanged, (classes,), if all are finite.

    Raises:
        ValueError: If the share of a class is 0.
    """
    missing = (~log_prior.isfinite()).nonzero().flatten().tolist()
    if missing:
        raise ValueError(
            f"log_prior is not finite for the classes {missing}, so the loss would never predict them. Remove classes "
            "without a training recording, or give them a small share."
        )
    return log_prior
