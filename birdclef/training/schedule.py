"""Schedule of the learning rate."""

import math

_LOWEST_SHARE = 0.01


def rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Returns the learning rate as a share of its peak: linear warm-up, then a cosine down to 1 %."""
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return _LOWEST_SHARE + (1 - _LOWEST_SHARE) * (1 + math.cos(math.pi * progress)) / 2
