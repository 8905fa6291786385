"""Schedule of the learning rate."""

import math

_LOWEST_SHARE = 0.01


def rate_factor(step: int, steps: int, warmup_share: float, falls_from: int | None = None) -> float:
    """Returns the learning rate as a share of its peak: linear warm-up, the peak, then a cosine down to 1 %.

    Args:
        step: Step of the training.
        steps: Number of steps, after which the rate is 1 %.
        warmup_share: Share of the steps in which the rate rises.
        falls_from: Step from which the rate falls; None: the end of the warm-up.
    """
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return (step + 1) / warmup
    begin = warmup if falls_from is None else falls_from
    progress = min(1.0, max(0, step - begin) / max(1, steps - begin))
    return _LOWEST_SHARE + (1 - _LOWEST_SHARE) * (1 + math.cos(math.pi * progress)) / 2
