"""How often training meets each class."""

from torch import Tensor


def check_log_prior(log_prior: Tensor) -> Tensor:
    """Returns the log of the share of each class, (classes,).

    Raises:
        ValueError: If a class has no share.
    """
    missing = (~log_prior.isfinite()).nonzero().flatten().tolist()
    if missing:
        raise ValueError(
            f"log_prior is not finite for the classes {missing}: an adjustment by it would forbid them. Leave classes "
            "without a training recording out, or give them a small share."
        )
    return log_prior
