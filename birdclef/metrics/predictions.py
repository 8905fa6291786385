"""Predictions of recordings: probabilities, decisions, and the ranks that several metrics share."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from birdclef.metrics.secondary_species import IgnoredPairs, leave_out_of_probabilities

Labels = NDArray[np.int64]

_SAME_WHATEVER_IS_IGNORED = ("_most_probable", "last_rank", "equals", "certain")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of recordings.

    Attributes:
        probabilities: (recordings, classes).
        decisions: Which species the thresholds decide to be present, (recordings, classes); None if a metric needs
            only the most probable species.
        ignored: Pairs of recording and secondary species, which no metric counts, as right or as wrong; None: all pairs
            count.
    """

    probabilities: NDArray[np.floating]
    decisions: NDArray[np.bool_] | None = None
    ignored: IgnoredPairs | None = None

    def equal(self, other: "Predictions") -> bool:
        """Whether all probabilities are the same to the last bit, as those of the same models are."""
        return np.array_equal(self.probabilities, other.probabilities)

    @cached_property
    def chosen(self) -> Labels:
        """Most probable species that counts, (recordings,); of equally probable species the first.

        A secondary species is never chosen: the species is chosen among the others.
        """
        chosen = self._most_probable.copy()
        rows, left = self._without_ignored
        chosen[rows] = left.argmax(axis=1)
        return chosen

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the chosen species, (recordings,), among the species that count."""
        places = self._most_probable[:, np.newaxis]
        confidence = np.take_along_axis(self.probabilities, places, axis=1)[:, 0].astype(np.float64)
        rows, left = self._without_ignored
        confidence[rows] = left.max(axis=1)
        return confidence

    @cached_property
    def ignored_pairs(self) -> tuple[Labels, Labels]:
        """Recording and class of each ignored pair, (pairs,) each; in the order of the classes."""
        if self.ignored is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows, classes = self.ignored.nonzero()
        order = np.argsort(classes, kind="stable")
        return rows[order].astype(np.int64), classes[order].astype(np.int64)

    @cached_property
    def last_rank(self) -> NDArray[np.int64]:
        """Number of recordings whose probability of the class is at least as high, (recordings, classes).

        Ignored pairs have ranks too. `birdclef.metrics.ranking` subtracts them.
        """
        return self._rank("max")

    @cached_property
    def equals(self) -> NDArray[np.int64]:
        """Number of recordings with the same probability of the class, itself included, (recordings, classes)."""
        return self.last_rank - self._rank("min") + 1

    @cached_property
    def certain(self) -> NDArray[np.int64]:
        """Number of recordings with probability 1 for each species, (classes,)."""
        return np.asarray((self.probabilities >= 1).sum(axis=0), np.int64)

    def with_truth_of(self, rows: Labels) -> "Predictions":
        """Returns the same predictions for a shuffled truth, for chance floors; ranks are not computed again.

        Args:
            rows: Index of the recording whose label and secondary species each recording has now, (recordings,).
        """
        if self.ignored is None:
            return self
        shuffled = replace(self, ignored=self.ignored[rows])
        shared = {name: value for name, value in vars(self).items() if name in _SAME_WHATEVER_IS_IGNORED}
        vars(shuffled).update(shared)
        return shuffled

    @cached_property
    def _most_probable(self) -> Labels:
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @cached_property
    def _without_ignored(self) -> tuple[Labels, NDArray[np.float64]]:
        """Recordings with an ignored pair, (rows,), and their probabilities without it, (rows, classes)."""
        rows = np.unique(self.ignored_pairs[0])
        if self.ignored is None:
            return rows, np.zeros((0, self.probabilities.shape[1]))
        return rows, leave_out_of_probabilities(self.probabilities[rows], self.ignored[rows])

    def _rank(self, method: Literal["min", "max"]) -> NDArray[np.int64]:
        return np.asarray(rankdata(-self.probabilities, method=method, axis=0), np.int64)
