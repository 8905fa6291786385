"""Groups species into buckets by their number of recordings, from the long tail to the head."""

import numpy as np
from numpy.typing import NDArray

BUCKETS = (("1-9", 1, 9), ("10-99", 10, 99), ("100+", 100, None))
"""Name of each bucket, and the fewest and most recordings that its species have; None: no upper limit."""


def in_bucket(counts: NDArray[np.int64], fewest: int, most: int | None) -> NDArray[np.bool_]:
    """Returns which species belong to a bucket, (classes,).

    Args:
        counts: Number of recordings of each species, (classes,).
        fewest: Fewest recordings of a species in the bucket.
        most: Most recordings of a species in the bucket; None: no upper limit.
    """
    inside = counts >= fewest
    return inside if most is None else inside & (counts <= most)
