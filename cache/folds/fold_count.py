"""How many folds the recordings allow, and what to do if they allow too few."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.folds.groups import RECORDING, RECORDIST, RECORDIST_AND_PLACE


def allowed_folds(labels: NDArray[np.str_], group: NDArray[np.int64]) -> int:
    """Returns the largest number of folds that groups can be spread over; below 2, there are no folds at all.

    Species with a single group cannot be spread. The other species must have as many groups together as there are
    folds, and one of them as many recordings.

    Args:
        labels: Species of each recording, (recordings,).
        group: Group of each recording, (recordings,).
    """
    free = ~single_group_species(labels, group)
    return min(_count_groups(free, group), _count_largest_species(free, labels))


def check_species(labels: NDArray[np.str_]) -> None:
    """Check that there is anything to tell apart.

    Args:
        labels: Species of each recording, (recordings,).

    Raises:
        ValueError: If all recordings are of one species.
    """
    species = np.unique(labels)
    if len(species) == 1:
        raise ValueError(
            f"All recordings are of one species, {species[0]}. A classifier of one species hears it in every sound, so "
            "add recordings of another species, or of background sounds under a label of their own."
        )


def check_folds(labels: NDArray[np.str_], group: NDArray[np.int64], folds: int, setting: str, group_by: str) -> None:
    """Check that groups can be spread over so many folds.

    Args:
        labels: Species of each recording, (recordings,).
        group: Group of each recording, (recordings,).
        folds: Number of folds.
        setting: Setting that states the number of folds: `split.folds`, or `split.test_share` for 1 / folds.
        group_by: What the recordings of a group share.

    Raises:
        ValueError: If there are fewer groups than folds, or no species has as many recordings as folds. The message
            names the largest number that works.
    """
    free = ~single_group_species(labels, group)
    groups, most = _count_groups(free, group), _count_largest_species(free, labels)
    if min(groups, most) >= folds:
        return
    if groups == 0:
        needed = _describe_single_groups(len(np.unique(group)), group_by)
    elif groups < folds:
        needed = (
            f"{folds} groups of recordings, but species with several groups have only {groups}. A group holds the "
            "recordings that share split.group_by, and duplicates"
        )
    else:
        needed = f"a species with {folds} recordings in several groups, but no species has more than {most}"
    remedy = _remedy(setting, min(groups, most), group_by, allowed_folds(labels, np.arange(len(labels))))
    raise ValueError(f"{_setting(setting, folds)} needs {needed}. {remedy}")


def _describe_single_groups(groups: int, group_by: str) -> str:
    """Returns what is needed and what there is if each species lies in one group only."""
    if group_by == RECORDING:
        return "species with more than one recording, but each species has one, or copies of one"
    value, shared = {
        RECORDIST: ("recordist", "are by one recordist"),
        RECORDIST_AND_PLACE: ("recordist or place", "are by one recordist at one place"),
    }.get(group_by, (repr(group_by), f"have the same {group_by!r}"))
    return f"species with more than one {value}, but all recordings{' of each species' * (groups > 1)} {shared}"


def single_group_species(labels: NDArray[np.str_], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which recordings are of a species whose recordings all lie in one group, (recordings,)."""
    groups_of_species = pd.DataFrame({"label": labels, "group": group}).groupby("label")["group"].nunique()
    return np.isin(labels, groups_of_species.index[groups_of_species == 1].to_numpy(str))


def _count_groups(free: NDArray[np.bool_], group: NDArray[np.int64]) -> int:
    return len(np.unique(group[free]))


def _count_largest_species(free: NDArray[np.bool_], labels: NDArray[np.str_]) -> int:
    """Returns the recordings of the species with most recordings; 0 if there are no free recordings."""
    return int(np.unique(labels[free], return_counts=True)[1].max(initial=0))


def _setting(name: str, folds: int) -> str:
    """Returns a setting with the value that asks for so many folds, as text."""
    return f"{name}={folds}" if name == "split.folds" else f"{name}={1 / folds:.4g}"


def _remedy(setting: str, allowed: int, group_by: str, allowed_by_recording: int) -> str:
    """Returns what a user can do if the recordings fill at most `allowed` folds, and without groups another number."""
    known = {RECORDIST: " by other recordists", RECORDIST_AND_PLACE: " by other recordists", RECORDING: ""}
    more = f"dd recordings{known.get(group_by, f' with other values of {group_by!r}')}"
    if allowed >= 2:
        automatic = " or split.folds=auto" if setting == "split.folds" else ""
        return f"Set {_setting(setting, allowed)}{automatic}, or a{more}."
    if allowed_by_recording >= 2 and group_by != RECORDING:
        return f"Set split.group_by=recording, or a column of the table such as a site, or a{more}."
    return f"A{more}, so that a species has at least two."
