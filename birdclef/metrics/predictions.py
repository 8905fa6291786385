"""Predictions as metrics see them: probabilities, decisions, and what is derived from them once for all metrics."""

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
        decisions: Which species are said to be present in each recording, by thresholds, (recordings, classes); None
            where only the most probable species matters.
    """

    probabilities: NDArray[np.floating]
    decisions: NDArray[np.bool_] | None = None

    @cached_property
    def chosen(self) -> Labels:
        """The most probable species, the first of equals, (recordings,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @cached_property
    def last_rank(self) -> NDArray[np.int64]:
        """How many recordings have at least the probability of each, class by class, (recordings, classes)."""
        return self._rank("max")

    @cached_property
    def equals(self) -> NDArray[np.int64]:
        """How many recordings have the very probability of each, itself among them, (recordings, classes)."""
        return self.last_rank - self._rank("min") + 1

    @cached_property
    def certain(self) -> NDArray[np.int64]:
        """How many recordings have probability 1 for each species, (classes,)."""
        return np.asarray((self.probabilities >= 1).sum(axis=0), np.int64)

    def _rank(self, method: Literal["min", "max"]) -> NDArray[np.int64]:
        return np.asarray(rankdata(-self.probabilities, method=method, axis=0), np.int64)
