"""Marks the secondary species of recordings, so that neither metrics nor fits nor losses count them.

A secondary species sings in a recording beside the species of its label. To predict it is no error, and no hit either.
So the pair of recording and species is ignored.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

IgnoredPairs = csr_array[np.bool_, tuple[int, int]]
"""Pairs of recording and species that count nowhere, (recordings, classes) bool."""

_SMALLEST = 1e-12


def mark_secondary(recordings: pd.DataFrame, species: Sequence[str]) -> IgnoredPairs:
    """Returns the pairs of recording and secondary species, (recordings, classes).

    The species of the label is never marked. A secondary label that is no class is left out.

    Args:
        recordings: label_index and secondary_labels (separated by spaces) of each recording.
        species: Label of each class.
    """
    place_of = {label: place for place, label in enumerate(species)}
    rows, columns = [], []
    for row, (own, labels) in enumerate(zip(recordings["label_index"], recordings["secondary_labels"], strict=True)):
        places = {place_of[label] for label in labels.split() if label in place_of} - {int(own)}
        rows += [row] * len(places)
        columns += sorted(places)
    marks = np.ones(len(rows), bool), (np.array(rows, np.int64), np.array(columns, np.int64))
    return csr_array(marks, shape=(len(recordings), len(species)))


def of_rows(ignored: IgnoredPairs | None, rows: NDArray[np.bool_] | NDArray[np.int64]) -> IgnoredPairs | None:
    """Returns the pairs of some recordings; None stays None.

    Args:
        ignored: Pairs that count nowhere; None: all pairs count.
        rows: Index of each wanted recording, or whether each recording is wanted.
    """
    return None if ignored is None else ignored[rows]


def leave_out(probabilities: NDArray[np.floating], ignored: IgnoredPairs) -> NDArray[np.float64]:
    """Returns probabilities among the species that count, (recordings, classes); each row adds up to 1.

    An ignored species has probability 0. The other probabilities of its recording keep their ratios.

    Args:
        probabilities: (recordings, classes).
        ignored: Pairs that count nowhere.
    """
    left = np.maximum(probabilities.astype(np.float64), _SMALLEST)
    left[ignored.nonzero()] = 0
    return np.asarray(left / left.sum(axis=1, keepdims=True))
