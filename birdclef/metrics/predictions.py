"""Predictions of recordings: probabilities, decisions, and the ranks that several metrics share."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of recordings.

    Attributes:
        probabilities: (recordings, classes).
        decisions: Which species the thresholds decide to be present, (recordings, classes); None if a metric needs
            only the most probable species.
    """

    probabilities: NDArray[np.floating]
    decisions: NDArray[np.bool_] | None = None

    @cached_property
    def chosen(self) -> Labels:
        """Most probable species, (recordings,); of equally probable species the first."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @cached_property
    def last_rank(self) -> NDArray[np.int64]:
        """Number of recordings whose probability of the class is at least as high, (recordings, classes)."""
        return self._rank("max")

    @cached_property
    def equals(self) -> NDArray[np.int64]:
        """Number of recordings with the same probability of the class, itself included, (recordings, classes)."""
        return self.last_rank - self._rank("min") + 1

    @cached_property
    def certain(self) -> NDArray[np.int64]:
        """Number of recordings with probability 1 for each species, (classes,)."""
        return np.asarray((self.probabilities >= 1).sum(axis=0), np.int64)

    def _rank(self, method: Literal["min", "max"]) -> NDArray[np.int64]:
        return np.asarray(rankdata(-self.probabilities, method=method, axis=0), np.int64)
