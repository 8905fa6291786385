"""Assigns a fold to each recording, so that no group has recordings in training and in validation."""

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.config.split import AUTO, MOST_FOLDS, SplitConfig
from cache.folds.extension import extend_folds
from cache.folds.fold_count import allowed_folds, check_folds, check_species, single_group_species
from cache.folds.groups import PINNED_FOLD, TEST_FOLD, group_recordings, table_column

_FEWEST = 2
"""Fewest folds of a split."""
_EXAMPLES = 3
"""Largest number of values that a message names."""


def assign_folds(
    recordings: pd.DataFrame, config: SplitConfig, earlier: NDArray[np.int64] | None = None
) -> pd.DataFrame:
    """Returns the split of a catalogue's recordings, in their order.

    If all recordings of a species belong to one group, the species would be missing from training when that group is
    validated, so the species is pinned to training. First the share `test_share` of the recordings is held out, then
    `StratifiedGroupKFold` spreads the rest over the folds; both keep groups together. If the folds of an earlier split
    are kept, only groups that the earlier split does not know are spread. Which species are pinned is decided again,
    because a species may have more groups now. Folds of `fold_column` are taken as they are, but for species whose
    recordings all lie in one fold: they are pinned too.

    Args:
        recordings: recording_id, label, recordist, sound, seconds, and the columns that `config` names.
        config: Number of folds, grouping and seed.
        earlier: Folds to keep, (recordings,); -1: pinned, -2: held out, -3: unknown. None: all folds are assigned.

    Returns:
        recording_id, label, fold, group (the group's first recording_id) and pinned.

    Raises:
        ValueError: If there is one species only, if there are fewer groups than folds, if no species has as many
            recordings as folds, if a column is missing, or if `fold_column` holds other values than -1 to folds - 1.
    """
    labels, group = recordings["label"].to_numpy(str), group_recordings(recordings, config.group_by)
    check_species(labels)
    first_of_group = recordings["recording_id"].to_numpy(str)[np.unique(group, return_index=True)[1]]
    split = pd.DataFrame(
        {"recording_id": recordings["recording_id"], "label": labels, "fold": TEST_FOLD, "group": first_of_group[group]}
    )
    if config.fold_column:
        split["fold"] = _given_folds(recordings, config)
    else:
        if earlier is None:
            rest = ~_hold_out(labels, group, config)
            split.loc[rest, "fold"] = _spread(labels[rest], group[rest], config.fold_count, "split.folds", config)
        else:
            split["fold"] = extend_folds(labels, group, earlier, _shares(config), config.seed)
        rest = (split["fold"] != TEST_FOLD).to_numpy()
        split.loc[~np.isin(labels, labels[rest]), "fold"] = PINNED_FOLD  # held out whole: no training data left
        split = _pin_lost_species(split, recordings["sound"].to_numpy(str))
    return split.assign(pinned=split["fold"] == PINNED_FOLD)


def check_table(table: pd.DataFrame, config: SplitConfig) -> None:
    """Check as far as the user's table tells that its recordings can be spread over the folds.

    Copies of a sound and unusable files are not known yet. They only make groups fewer, so a table that is refused
    here would also be refused with its features computed.

    Args:
        table: recording_id, label, recordist, and the columns that `config` names.
        config: Number of folds, and grouping.

    Raises:
        ValueError: As `assign_folds`.
    """
    if config.fold_column:
        _given_folds(table, settle_folds(table, config))
        return
    recordings = table.assign(sound=table["recording_id"], seconds=np.arange(len(table)))
    labels, group = table["label"].to_numpy(str), group_recordings(recordings, config.group_by)
    if config.test_share:
        check_folds(labels, group, _test_parts(config), "split.test_share", config.group_by)
    check_folds(labels, group, _FEWEST if config.folds == AUTO else config.fold_count, "split.folds", config.group_by)


def settle_folds(recordings: pd.DataFrame, config: SplitConfig) -> SplitConfig:
    """Returns the settings with a number of folds in place of `auto`.

    This is the largest number up to 5 that the recordings allow, or the number of folds that `fold_column` holds.

    Args:
        recordings: As in `assign_folds`.
        config: Settings of the split.
    """
    if config.folds != AUTO:
        return config
    if config.fold_column:
        given = pd.to_numeric(table_column(recordings, config.fold_column, "split.fold_column"), errors="coerce")
        allowed = int(given[np.isfinite(given)].to_numpy().max(initial=0)) + 1
    else:
        labels, group = recordings["label"].to_numpy(str), group_recordings(recordings, config.group_by)
        rest = ~_hold_out(labels, group, config)
        allowed = min(MOST_FOLDS, allowed_folds(labels[rest], group[rest]))
    return config.model_copy(update={"folds": max(_FEWEST, allowed)})


def _given_folds(recordings: pd.DataFrame, config: SplitConfig) -> NDArray[np.int64]:
    """Returns the fold of each recording as the column `config.fold_column` states it, (recordings,).

    Species whose recordings all lie in one fold are pinned.
    """
    column = table_column(recordings, str(config.fold_column), "split.fold_column")
    fold = pd.to_numeric(column, errors="coerce")
    wrong = ~(fold.between(PINNED_FOLD, config.fold_count - 1) & (fold % 1 == 0))
    present = set(fold[~wrong & (fold >= 0)])
    if wrong.any() or len(present) < config.fold_count:
        raise ValueError(
            f"The column of split.fold_column={config.fold_column!r} must hold 0 to {config.fold_count - 1} "
            f"(split.folds={config.fold_count}), or {PINNED_FOLD} for training only, but it holds "
            f"{_describe_wrong(recordings['recording_id'], column, wrong) or _describe_absent(present, config)}. "
            "Correct the table, where folds count from 0 without gaps, or split.folds."
        )
    given = pd.DataFrame({"label": recordings["label"].to_numpy(str), "fold": fold.to_numpy(np.int64)})
    given.loc[given["label"].isin(_lost_species(given)), "fold"] = PINNED_FOLD
    if empty := sorted(set(range(config.fold_count)) - set(given["fold"])):
        raise ValueError(
            f"Fold {empty[0]} of split.fold_column={config.fold_column!r} holds only species that lie in no other "
            "fold, so no model could know them. Spread their recordings over several folds of the table."
        )
    return given["fold"].to_numpy(np.int64)


def _describe_wrong(recording_id: pd.Series, column: pd.Series, wrong: pd.Series) -> str:
    """Returns examples and number of the values that are no fold; an empty text if there are none."""
    some = zip(recording_id[wrong].head(_EXAMPLES), column[wrong].head(_EXAMPLES), strict=True)
    examples = ", ".join(f"{name} ({value!r})" for name, value in some)
    return f"something else ({examples}; recordings concerned: {int(wrong.sum())})" if examples else ""


def _describe_absent(present: Collection[float], config: SplitConfig) -> str:
    """Returns examples and number of the folds without a recording."""
    some = islice((fold for fold in range(config.fold_count) if fold not in present), _EXAMPLES)
    others = config.fold_count - len(present) - _EXAMPLES
    return f"no recording of fold {', '.join(map(str, some))}{f' and {others} others' if others > 0 else ''}"


def _shares(config: SplitConfig) -> dict[int, float]:
    """Returns the share of the recordings that each fold gets, by fold; -2 is the held-out share."""
    shares = dict.fromkeys(range(config.fold_count), (1 - config.test_share) / config.fold_count)
    return {**shares, TEST_FOLD: config.test_share} if config.test_share else shares


def _test_parts(config: SplitConfig) -> int:
    """Returns the number of equal parts of which one is held out."""
    return round(1 / config.test_share)


def _hold_out(labels: NDArray[np.str_], group: NDArray[np.int64], config: SplitConfig) -> NDArray[np.bool_]:
    """Returns which recordings are held out, (recordings,); about `test_share` of all."""
    if not config.test_share:
        return np.zeros(len(labels), bool)
    held_out: NDArray[np.bool_] = _spread(labels, group, _test_parts(config), "split.test_share", config) == 0
    return held_out


def _spread(
    labels: NDArray[np.str_], group: NDArray[np.int64], folds: int, setting: str, config: SplitConfig
) -> NDArray[np.int64]:
    """Returns the fold of each recording, -1 for species with a single group, (recordings,).

    Args:
        labels: Species of each recording, (recordings,).
        group: Group of each recording, (recordings,).
        folds: Number of folds.
        setting: Setting that states the number of folds: `split.folds`, or `split.test_share` for 1 / folds.
        config: Grouping, and the seed of the assignment.

    Raises:
        ValueError: If there are fewer groups than folds, or no species has as many recordings as folds.
    """
    # Imported here so that a split that exists does not load scikit-learn.
    from sklearn.model_selection import StratifiedGroupKFold

    check_folds(labels, group, folds, setting, config.group_by)
    pinned = single_group_species(labels, group)
    fold = np.full(len(labels), PINNED_FOLD)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=config.seed)
    with long_tail_expected():
        for index, (_, validation) in enumerate(splitter.split(labels[~pinned], labels[~pinned], group[~pinned])):
            fold[np.flatnonzero(~pinned)[validation]] = index
    return fold


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
            lost = _lost_species(split)
            joined = (split["label"].isin(lost) & (split["fold"] != TEST_FOLD)).to_numpy()
            if not lost:
                return split
        split.loc[joined, "fold"] = PINNED_FOLD


def _lost_species(split: pd.DataFrame) -> list[str]:
    """Returns the species that would have no training recordings when their only fold is validated."""
    spread = split[split["fold"] >= 0].groupby("label")["fold"].nunique()
    always_trained = set(split.loc[split["fold"] == PINNED_FOLD, "label"])
    return [label for label in spread.index[spread == 1] if label not in always_trained]


@contextmanager
def long_tail_expected() -> Iterator[None]:
    """Silence scikit-learn's warning about species with fewer recordings than folds; the split's report lists these."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield
