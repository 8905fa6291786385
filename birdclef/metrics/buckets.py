"""Species by their number of recordings: tail, middle and head of the long tail."""

import numpy as np
from numpy.typing import NDArray

BUCKETS = (("1-9", 1, 9), ("10-99", 10, 99), ("100+", 100, None))
"""Name, fewest and most recordings of a species."""


def in_bucket(counts: NDArray[np.int64], fewest: int, most: int | None) -> NDArray[np.bool_]:
    """Returns which species, given their numbers of recordings, (species,), belong to a bucket."""
    inside = counts >= fewest
    return inside if most is None else inside & (counts <= most)
