"""The fold of each recording, so that nothing of one group crosses from training to validation."""

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

    Species whose recordings all belong to one group would be missing from training when that group is validated:
    they are pinned to training. All others are spread by `StratifiedGroupKFold` over the groups, after as much as
    `test_share` asks for was taken out in the same way. Where folds of an earlier split are kept, only groups that it
    does not know are spread; which species are pinned is decided anew, for one may have found more recordists.

    Args:
        recordings: recording_id, label, recordist, sound, seconds, and the columns that `config` names.
        config: Number of folds, grouping and seed.
        earlier: Folds to be kept, -1: pinned, -2: held out, -3: unknown, (recordings,); none: all are assigned.

    Raises:
        ValueError: If there are fewer groups, or recordings of each species, than folds, or if a column is missing or
            gives other folds than 0 to folds - 1 and -1.
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
            setting = f"split.folds={config.folds}"
            split.loc[rest, "fold"] = _spread(labels[rest], group[rest], config.folds, config.seed, setting)
        else:
            split["fold"] = extend_folds(labels, group, earlier, _shares(config), config.seed)
        rest = (split["fold"] != TEST_FOLD).to_numpy()
        split.loc[~np.isin(labels, labels[rest]), "fold"] = PINNED_FOLD  # nothing of it would be left to train on
        split = _pin_lost_species(split, recordings["sound"].to_numpy(str))
    return split.assign(pinned=split["fold"] == PINNED_FOLD)


def _given_folds(recordings: pd.DataFrame, config: SplitConfig) -> NDArray[np.int64]:
    """Returns the fold that a column of the table gives each recording, (recordings,)."""
    column = table_column(recordings, str(config.fold_column), "split.fold_column")
    fold = pd.to_numeric(column, errors="coerce")
    wrong = ~fold.isin([PINNED_FOLD, *range(config.folds)])
    absent = sorted(set(range(config.folds)) - set(fold))
    if wrong.any() or absent:
        some = zip(recordings.loc[wrong, "recording_id"].head(3), column[wrong].head(3), strict=True)
        examples = ", ".join(f"{name} ({value!r})" for name, value in some)
        problem = f"{int(wrong.sum())} other values, such as {examples}" if wrong.any() else f"none of fold {absent}"
        raise ValueError(
            f"split.fold_column={config.fold_column!r} must give 0 to {config.folds - 1} (split.folds={config.folds}), "
            f"or {PINNED_FOLD} for training only, but has {problem}. Correct the table or split.folds."
        )
    return fold.to_numpy(np.int64)


def _shares(config: SplitConfig) -> dict[int, float]:
    """Returns which share of the recordings belongs to each fold, and to those that are held out."""
    shares = dict.fromkeys(range(config.folds), (1 - config.test_share) / config.folds)
    return {**shares, TEST_FOLD: config.test_share} if config.test_share else shares


def _hold_out(labels: NDArray[np.str_], group: NDArray[np.int64], config: SplitConfig) -> NDArray[np.bool_]:
    """Returns which recordings are kept from training and validation, (recordings,), about `test_share` of them."""
    if not config.test_share:
        return np.zeros(len(labels), bool)
    parts = round(1 / config.test_share)
    held_out: NDArray[np.bool_] = _spread(labels, group, parts, config.seed, f"split.test_share=1/{parts}") == 0
    return held_out


def _spread(
    labels: NDArray[np.str_], group: NDArray[np.int64], folds: int, seed: int, setting: str
) -> NDArray[np.int64]:
    """Returns the fold of each recording, -1 for species of a single group, (recordings,); `setting` asked for them."""
    # Imported here so that a split found in the workspace does not pay for scikit-learn.
    from sklearn.model_selection import StratifiedGroupKFold

    groups_of_species = pd.DataFrame({"label": labels, "group": group}).groupby("label")["group"].nunique()
    pinned = np.isin(labels, groups_of_species.index[groups_of_species == 1])
    free_groups = len(np.unique(group[~pinned]))
    if free_groups < folds:
        raise ValueError(
            f"{free_groups} group(s) of recordings (by recordist, say, and duplicate) cannot fill the {folds} parts "
            f"that {setting} asks for: ask for fewer, or add recordings by other recordists."
        )
    most = int(pd.Series(labels[~pinned]).value_counts().max())
    if most < folds:
        raise ValueError(
            f"No species with several groups has more than {most} recordings, so none can be spread over the {folds} "
            f"parts that {setting} asks for: ask for fewer, or add recordings."
        )
    fold = np.full(len(labels), PINNED_FOLD)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with long_tail_expected():
        for index, (_, validation) in enumerate(splitter.split(labels[~pinned], labels[~pinned], group[~pinned])):
            fold[np.flatnonzero(~pinned)[validation]] = index
    return fold


def _pin_lost_species(split: pd.DataFrame, sound: NDArray[np.str_]) -> pd.DataFrame:
    """Returns the split with species pinned that would have no training recordings in some fold otherwise.

    Where a pinned sound stands under another label as well, all of that label in its group is pinned with it.
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
    """Silence scikit-learn's warning about species with fewer recordings than folds; the report lists them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield
