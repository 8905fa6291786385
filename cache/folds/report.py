"""Reports what a split leaks, and which species it cannot validate."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.config.split import SplitConfig
from cache.folds.assignment import long_tail_expected
from cache.folds.groups import PINNED_FOLD, TEST_FOLD, count_leaks


def report_split(recordings: pd.DataFrame, split: pd.DataFrame, config: SplitConfig) -> dict[str, Any]:
    """Returns the content of `split_report.json`: leaks, coverage, and recordings per fold."""
    fold = split["fold"].to_numpy()
    validated = split[fold >= 0]
    never = sorted(set(split["label"]) - set(validated["label"]))
    return {
        "folds": config.folds,
        "group_by": config.fold_column or config.group_by,
        "groups": int(split["group"].nunique()),
        "leak": count_leaks(recordings, fold),
        "coverage": {
            "species": int(split["label"].nunique()),
            "species_validated": int(validated["label"].nunique()),
            "species_never_validated": never,
            "why": "all their usable recordings belong to one group or fold, so they are pinned to training",
            "recordings_pinned": int((fold == PINNED_FOLD).sum()),
            "recordings_held_out": int((fold == TEST_FOLD).sum()),
            "species_missing_per_fold": {
                str(index): int(split["label"].nunique() - split.loc[fold == index, "label"].nunique())
                for index in range(config.folds)
            },
        },
        "recordings_per_fold": {str(index): int((fold == index).sum()) for index in range(config.folds)},
        "class_counts_per_fold": pd.crosstab(split["label"], split["fold"]).to_dict(orient="index"),
        "plain_stratified": {"leak": count_leaks(recordings, _plain_stratified_folds(recordings, config))},
    }


def _plain_stratified_folds(recordings: pd.DataFrame, config: SplitConfig) -> NDArray[np.int64]:
    """Returns the folds of `StratifiedKFold`, which ignores recordists, (recordings,)."""
    from sklearn.model_selection import StratifiedKFold

    labels = recordings["label"].to_numpy(str)
    fold = np.zeros(len(recordings), np.int64)
    splitter = StratifiedKFold(config.folds, shuffle=True, random_state=config.seed)
    with long_tail_expected():
        for index, (_, validation) in enumerate(splitter.split(labels, labels)):
            fold[validation] = index
    return fold
