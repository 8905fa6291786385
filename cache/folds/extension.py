"""Keeps the folds of an earlier split when recordings are added or removed; new groups fill the folds evenly."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array

from cache.folds.groups import PINNED_FOLD, TEST_FOLD

UNASSIGNED = -3
"""Fold of a recording or group that the earlier split does not know."""


def extend_folds(
    labels: NDArray[np.str_], group: NDArray[np.int64], earlier: NDArray[np.int64], shares: dict[int, float], seed: int
) -> NDArray[np.int64]:
    """Returns the fold of each recording, the same within a group, (recordings,).

    A group with known recordings keeps their fold, and its new recordings get the same fold. If the known recordings of
    a group come from several folds, the group gets the fold of most of them; if any of them was held out, the whole
    group is held out. A pinned recording does not fix the fold of its group, but its group must not be held out now.

    New groups are placed as in scikit-learn's `StratifiedGroupKFold`: one after the other, the largest first, each into
    the fold that leaves the smallest standard deviation of the species' shares.

    Args:
        labels: Species of each recording, (recordings,).
        group: Group of each recording, (recordings,).
        earlier: Fold of each recording in the earlier split, (recordings,); -1: pinned, -2: held out, -3: unknown.
        shares: Share of the recordings that each fold gets, by fold; with -2 if recordings are held out.
        seed: Seed of the order among groups of the same size.
    """
    home = _inherit(group, earlier)  # (groups,)
    folds, share = np.array(list(shares)), np.array(list(shares.values()))[:, np.newaxis]  # (folds,), (folds, 1)
    species = pd.factorize(labels)[0]
    counts = coo_array((np.ones(len(group)), (group, species)), shape=(len(home), species.max() + 1)).tocsr()
    total = np.asarray(counts.sum(axis=0))  # (species,)
    filled = np.stack([np.asarray(counts[home == fold].sum(axis=0)) for fold in folds]) / share  # (folds, species)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(home == UNASSIGNED))
    sizes = np.bincount(group)
    trained_on = np.bincount(group, earlier == PINNED_FOLD) > 0  # (groups,)
    for index in order[np.argsort(-sizes[order], kind="stable")]:
        row = slice(counts.indptr[index], counts.indptr[index + 1])
        of_group = counts.indices[row]
        added = counts.data[row] / share  # (folds, species of the group)
        tried = filled[:, of_group] + np.eye(len(folds))[:, :, np.newaxis] * added  # (tried, folds, species)
        spread = (tried.std(axis=1) / total[of_group]).mean(axis=1).round(9)  # (tried,)
        barred = trained_on[index] & (folds == TEST_FOLD)
        best = int(np.lexsort((filled.sum(axis=1), spread, barred))[0])
        filled[best, of_group] += added[best]
        home[index] = folds[best]
    fold: NDArray[np.int64] = home[group]
    return fold


def _inherit(group: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the fold of each group by its known recordings that were not pinned, (groups,); -3 if it has none."""
    telling = (earlier != UNASSIGNED) & (earlier != PINNED_FOLD)
    known = pd.DataFrame({"group": group[telling], "fold": earlier[telling]})
    votes = known.groupby(["group", "fold"]).size().reset_index(name="recordings")
    votes = votes.assign(held_out=votes["fold"] == TEST_FOLD)
    votes = votes.sort_values(["held_out", "recordings", "fold"], ascending=[False, False, True])
    winners = votes.drop_duplicates("group")
    home = np.full(int(group.max()) + 1, UNASSIGNED)
    home[winners["group"]] = winners["fold"]
    return home
