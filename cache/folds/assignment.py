"""Assigns a fold to each recording, so that no group has recordings in training and in validation."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.config.split import SplitConfig
from cache.folds.extension import extend_folds
from cache.folds.groups import PINNED_FOLD, TEST_FOLD, group_recordings, table_column


def assign_folds(
    recordings: pd.DataFrame, config: SplitConfig, earlier: NDArray[np.int64] | None = None
) -> pd.DataFrame:
    """Returns the split of a catalogue's recordings, in their order.

    If all recordings of a species belong to one group, the species would be missing from training when that group is
    validated, so the species is pinned to training. First the share `test_share` of the recordings is held out, then
    `StratifiedGroupKFold` spreads the rest over the folds; both keep groups together. If the folds of an earlier split
    are kept, only groups that the earlier split does not know are spread. Which species are pinned is decided again,
    because a species may have more groups now.

    Args:
        recordings: recording_id, label, recordist, sound, seconds, and the columns that `config` names.
        config: Number of folds, grouping and seed.
        earlier: Folds to keep, (recordings,); -1: pinned, -2: held out, -3: unknown. None: all folds are assigned.

    Returns:
        recording_id, label, fold, group (the group's first recording_id) and pinned.

    Raises:
        ValueError: If there are fewer groups than folds, if no species has as many recordings as folds, if a column is
            missing, or if `fold_column` holds other values than 0 to folds - 1 and -1.
    """
    labels, group = recordings["label"].to_numpy(str), group_recordings(recordings, config.group_by)
    first_of_group = recordings["recording_id"].to_numpy(str)[np.unique(group, return_index=True)[1]]
    split = pd.DataFrame(
        {"recording_id": recordings["recording_id"], "label": labels, "fold": TEST_FOLD, "group": first_of_group[group]}
    )
    if config.fold_column:
        split["fold"] = _given_folds(recordings, config)
    else:
        if earlier is None:
            rest = ~_hold_out(labels, group, config)
            split.loc[rest, "fold"] = _spread(labels[rest], group[rest], config.folds, config.seed, "split.folds")
        else:
            split["fold"] = extend_folds(labels, group, earlier, _shares(config), config.seed)
        rest = (split["fold"] != TEST_FOLD).to_numpy()
        split.loc[~np.isin(labels, labels[rest]), "fold"] = PINNED_FOLD  # held out whole: no training data left
        split = _pin_lost_species(split, recordings["sound"].to_numpy(str))
    return split.assign(pinned=split["fold"] == PINNED_FOLD)


def _given_folds(recordings: pd.DataFrame, config: SplitConfig) -> NDArray[np.int64]:
    """Returns the fold of each recording as the column `config.fold_column` states it, (recordings,)."""
    column = table_column(recordings, str(config.fold_column), "split.fold_column")
    fold = pd.to_numeric(column, errors="coerce")
    wrong = ~fold.isin([PINNED_FOLD, *range(config.folds)])
    absent = sorted(set(range(config.folds)) - set(fold))
    if wrong.any() or absent:
        some = zip(recordings.loc[wrong, "recording_id"].head(3), column[wrong].head(3), strict=True)
        examples = ", ".join(f"{name} ({value!r})" for name, value in some)
        problem = (
            f"{int(wrong.sum())} other values, such as {examples}" if wrong.any() else f"no recording of fold {absent}"
        )
        raise ValueError(
            f"The column of split.fold_column={config.fold_column!r} must hold 0 to {config.folds - 1} "
            f"(split.folds={config.folds}), or {PINNED_FOLD} for training only, but it holds {problem}. Correct the "
            "table or split.folds."
        )
    return fold.to_numpy(np.int64)


def _shares(config: SplitConfig) -> dict[int, float]:
    """Returns the share of the recordings that each fold gets, by fold; -2 is the held-out share."""
    shares = dict.fromkeys(range(config.folds), (1 - config.test_share) / config.folds)
    return {**shares, TEST_FOLD: config.test_share} if config.test_share else shares


def _hold_out(labels: NDArray[np.str_], group: NDArray[np.int64], config: SplitConfig) -> NDArray[np.bool_]:
    """Returns which recordings are held out, (recordings,); about `test_share` of all."""
    if not config.test_share:
        return np.zeros(len(labels), bool)
    parts = round(1 / config.test_share)
    held_out: NDArray[np.bool_] = _spread(labels, group, parts, config.seed, "split.test_share") == 0
    return held_out


def _spread(
    labels: NDArray[np.str_], group: NDArray[np.int64], folds: int, seed: int, setting: str
) -> NDArray[np.int64]:
    """Returns the fold of each recording, -1 for species with a single group, (recordings,).

    Args:
        labels: Species of each recording, (recordings,).
        group: Group of each recording, (recordings,).
        folds: Number of folds.
        seed: Seed of the assignment.
        setting: Setting that states the number of folds: `split.folds`, or `split.test_share` for 1 / folds.

    Raises:
        ValueError: If there are fewer groups than folds, or no species has as many recordings as folds.
    """
    # Imported here so that a split that exists does not load scikit-learn.
    from sklearn.model_selection import StratifiedGroupKFold

    groups_of_species = pd.DataFrame({"label": labels, "group": group}).groupby("label")["group"].nunique()
    pinned = np.isin(labels, groups_of_species.index[groups_of_species == 1])
    free_groups = len(np.unique(group[~pinned]))
    if free_groups < folds:
        raise ValueError(
            f"{_setting(setting, folds)} needs {folds} groups of recordings, but species with several groups have only "
            f"{free_groups}. A group holds the recordings that share split.group_by, and duplicates. "
            + _remedy(setting, free_groups)
        )
    most = int(pd.Series(labels[~pinned]).value_counts().max())
    if most < folds:
        raise ValueError(
            f"{_setting(setting, folds)} needs a species with {folds} recordings in several groups, but no species has "
            f"more than {most}. " + _remedy(setting, most)
        )
    fold = np.full(len(labels), PINNED_FOLD)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with long_tail_expected():
        for index, (_, validation) in enumerate(splitter.split(labels[~pinned], labels[~pinned], group[~pinned])):
            fold[np.flatnonzero(~pinned)[validation]] = index
    return fold


def _setting(name: str, folds: int) -> str:
    """Returns a setting with the value that asks for so many folds, as text."""
    return f"{name}={folds}" if name == "split.folds" else f"{name}={1 / folds:.4g}"


def _remedy(setting: str, most: int) -> str:
    """Returns what a user can do if the recordings fill at most `most` folds."""
    if most < 2:
        return "Add recordings by other recordists, or set split.group_by=recording."
    return f"Set {_setting(setting, most)}, or add recordings by other recordists."


def _pin_lost_species(split: pd.DataFrame, sound: NDArray[np.str_]) -> pd.DataFrame:
    """Returns the split, with species pinned that would otherwise have no training recordings for some fold.

    If a pinned sound also has another label, all recordings of that label in the sound's group are pinned too.

    Args:
        split: label, fold and group; `fold` is changed.
        sound: Sound of each recording, (recordings,).
    """
    part = split.groupby(["group", "label"]).ngroup().to_numpy()  # (recordings,)
    while True:
        pinned = (split["fold"] == PINNED_FOLD).to_numpy()
        joined = np.isin(part, part[np.isin(sound, sound[pinned])])
        if not joined[~pinned].any():
            spread = split[split["fold"] >= 0].groupby("label")["fold"].nunique()
            always_trained = set(split.loc[pinned, "label"])
            lost = [label for label in spread.index[spread == 1] if label not in always_trained]
            joined = (split["label"].isin(lost) & (split["fold"] != TEST_FOLD)).to_numpy()
            if not lost:
                return split
        split.loc[joined, "fold"] = PINNED_FOLD


@contextmanager
def long_tail_expected() -> Iterator[None]:
    """Silence scikit-learn's warning about species with fewer recordings than folds; the split's report lists these."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield
