"""Reports what a split leaks, and which species it cannot validate."""

import logging
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.config.split import SplitConfig
from cache.folds.assignment import long_tail_expected
from cache.folds.groups import PINNED_FOLD, RECORDIST, TEST_FOLD
from cache.folds.overlap import Overlap, count_leaks, measure_overlap

logger = logging.getLogger(__name__)


def report_split(recordings: pd.DataFrame, split: pd.DataFrame, config: SplitConfig) -> dict[str, Any]:
    """Returns the content of `split_report.json`: leaks, coverage, and recordings per fold.

    `leak` counts pairs and shares, to compare splits. `overlap` counts the validated recordings that resemble what is
    trained on, and those whose recordist is known at all.
    """
    fold = split["fold"].to_numpy()
    validated = split[fold >= 0]
    never = sorted(set(split["label"]) - set(validated["label"]))
    return {
        "folds": config.fold_count,
        "group_by": config.fold_column or config.group_by,
        "groups": int(split["group"].nunique()),
        "leak": count_leaks(recordings, fold),
        "overlap": asdict(measure_overlap(recordings, fold)),
        "coverage": {
            "recordings": len(split),
            "species": int(split["label"].nunique()),
            "species_validated": int(validated["label"].nunique()),
            "species_never_validated": never,
            "why": "all their usable recordings that are not held out belong to one group or fold, so they are only "
            "trained on",
            "recordings_pinned": int((fold == PINNED_FOLD).sum()),
            "recordings_held_out": int((fold == TEST_FOLD).sum()),
            "species_missing_per_fold": {
                str(index): int(split["label"].nunique() - split.loc[fold == index, "label"].nunique())
                for index in range(config.fold_count)
            },
        },
        "recordings_per_fold": {str(index): int((fold == index).sum()) for index in range(config.fold_count)},
        "class_counts_per_fold": pd.crosstab(split["label"], split["fold"]).to_dict(orient="index"),
        "plain_stratified": {"leak": count_leaks(recordings, _plain_stratified_folds(recordings, config))},
    }


def log_split(report: dict[str, Any], config: SplitConfig) -> None:
    """Log what a split validates, and what models share with the recordings that they validate.

    Args:
        report: Content of `split_report.json`.
        config: Settings of the split.

    Raises:
        ValueError: If a (recordist, species) pair lies in two folds although recordists must stay together.
    """
    coverage = report["coverage"]
    validated = (coverage["species_validated"], coverage["species"], sum(report["recordings_per_fold"].values()))
    logger.info(
        "split: %d of %d species and %d of %d usable recordings are validated, in %d folds",
        *(*validated, coverage["recordings"], report["folds"]),
    )
    if coverage["species_validated"] == 1 and coverage["species"] > 1:
        logger.warning(
            "split: only one species is validated, so no score can say whether the species are told apart. Add "
            "recordings of the others by other recordists, or set split.group_by=recording, or a column such as a site"
        )
    overlap = Overlap(**report["overlap"])
    told = overlap.describe()
    if not report["leak"]["shared_pairs"]:
        level = logging.INFO if overlap.recordist_known and not overlap.same_sound else logging.WARNING
        by_column = bool(config.fold_column and overlap.same_sound)
        cause = f"split.fold_column={config.fold_column} lets copies stand on both sides. " if by_column else ""
        logger.log(level, "split: %s%s", cause, told)
    elif config.fold_column or config.group_by != RECORDIST:
        setting = f"fold_column={config.fold_column}" if config.fold_column else f"group_by={config.group_by}"
        logger.warning("split: split.%s lets recordists stand on both sides. %s", setting, told)
    else:
        raise ValueError(
            f"{report['leak']['shared_pairs']} (recordist, species) pairs lie in training and validation, although "
            "split.group_by=recordist. This is a defect of the grouping. Please report it with the catalogue."
        )


def _plain_stratified_folds(recordings: pd.DataFrame, config: SplitConfig) -> NDArray[np.int64]:
    """Returns the folds of `StratifiedKFold`, which ignores recordists, (recordings,).

    It makes no more folds than the commonest species has recordings: two at least, because some model knows it.
    """
    from sklearn.model_selection import StratifiedKFold

    labels = recordings["label"].to_numpy(str)
    fold = np.zeros(len(recordings), np.int64)
    folds = min(config.fold_count, int(recordings["label"].value_counts().max()))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=config.seed)
    with long_tail_expected():
        for index, (_, validation) in enumerate(splitter.split(labels, labels)):
            fold[validation] = index
    return fold
