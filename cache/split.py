"""Stage 1: stratified folds in which nothing by one recordist of one species, and no duplicate, crosses to validation.

Groups (recordist, duplicates) stay together; only a species that has no other group is taken out of its group and
pinned to training.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cache.artefact import Recipe, artefact_key, materialise
from cache.catalogue import read_catalogue
from cache.config import SplitConfig

VERSION = 1
"""Raised by hand when the same catalogue and settings give other folds."""

PINNED_FOLD = -1
"""Fold of a recording that is always in training."""

UNKNOWN_RECORDISTS = ("", "unknown")


def build_split(config: SplitConfig, catalogue: Path, workspace: Path) -> Path:
    """Returns the directory of the split: `split.csv` and `split_report.json`.

    Raises:
        ValueError: If there are fewer groups, or recordings of each species, than folds, or if a (recordist, species)
            pair crosses folds.
    """
    recipe = Recipe("splits", config.identity(), {"catalogue": artefact_key(catalogue)}, VERSION)
    return materialise(workspace, recipe, lambda staging: _write(config, catalogue, staging))


def read_split(directory: Path) -> pd.DataFrame:
    """Returns recording_id, label, fold (-1: always in training), group, pinned."""
    table = pd.read_csv(directory / "split.csv", dtype=str, keep_default_na=False)
    return table.assign(fold=table["fold"].astype("int64"), pinned=table["pinned"] == "True")


def assign_folds(recordings: pd.DataFrame, config: SplitConfig) -> pd.DataFrame:
    """Returns the split of a catalogue's recordings, in their order.

    Species whose recordings all belong to one group would be missing from training when that group is validated:
    they are pinned to training. All others are spread by `StratifiedGroupKFold` over the groups.

    Args:
        recordings: recording_id, label, recordist, sha256, seconds.
        config: Number of folds and seed.
    """
    # Imported here so that a split found in the workspace does not pay for scikit-learn.
    from sklearn.model_selection import StratifiedGroupKFold

    group = group_recordings(recordings)
    labels = recordings["label"].to_numpy(str)
    groups_of_species = pd.DataFrame({"label": labels, "group": group}).groupby("label")["group"].nunique()
    pinned = np.isin(labels, groups_of_species.index[groups_of_species == 1])
    free_groups = len(np.unique(group[~pinned]))
    if free_groups < config.folds:
        raise ValueError(
            f"{free_groups} group(s) of recordings (by recordist and duplicate) cannot fill "
            f"split.folds={config.folds}: lower split.folds, or add recordings by other recordists."
        )
    most = int(pd.Series(labels[~pinned]).value_counts().max())
    if most < config.folds:
        raise ValueError(
            f"No species with several groups has more than {most} recordings, so none can be spread over "
            f"split.folds={config.folds}: lower split.folds, or add recordings."
        )
    fold = np.full(len(recordings), PINNED_FOLD)
    splitter = StratifiedGroupKFold(config.folds, shuffle=True, random_state=config.seed)
    with _long_tail_expected():
        for index, (_, validation) in enumerate(splitter.split(labels[~pinned], labels[~pinned], group[~pinned])):
            fold[np.flatnonzero(~pinned)[validation]] = index
    first_of_group = recordings["recording_id"].to_numpy(str)[np.unique(group, return_index=True)[1]]
    split = pd.DataFrame(
        {"recording_id": recordings["recording_id"], "label": labels, "fold": fold, "group": first_of_group[group]}
    )
    split["pinned"] = split["fold"] == PINNED_FOLD
    return _pin_lost_species(split)


def group_recordings(recordings: pd.DataFrame) -> NDArray[np.int64]:
    """Returns the group of each recording, (recordings,): whatever must stay on one side of a split.

    Two recordings share a group if they share a known recordist, the same bytes, or label, recordist and duration.
    An unknown recordist counts as one recordist per recording.
    """
    itself = np.arange(len(recordings))
    unknown = _is_unknown(recordings["recordist"])
    keys = [
        np.where(unknown, len(recordings) + itself, pd.factorize(recordings["recordist"])[0]),
        pd.factorize(recordings["sha256"])[0],
        recordings.groupby(["label", "recordist", "seconds"], sort=False).ngroup().to_numpy(),
    ]
    rows, nodes, offset = [], [], len(recordings)
    for key in keys:
        rows.append(itself)
        nodes.append(key + offset)
        offset += 2 * len(recordings)
    edges = coo_array(
        (np.ones(len(recordings) * len(keys)), (np.concatenate(rows), np.concatenate(nodes))), shape=(offset, offset)
    )
    component = connected_components(edges, directed=False)[1][: len(recordings)]
    return pd.factorize(component)[0].astype(np.int64)


def count_leaks(recordings: pd.DataFrame, fold: NDArray[np.int64]) -> dict[str, float]:
    """Returns how many validation recordings share recordist and species with a training recording of their fold.

    Args:
        recordings: label and recordist.
        fold: Validation fold of each recording, -1 for training only, (recordings,).
    """
    known = ~_is_unknown(recordings["recordist"])
    pair = recordings.groupby(["label", "recordist"], sort=False).ngroup().to_numpy()
    table = pd.DataFrame({"pair": pair, "fold": fold})[known]
    folds_of_pair = table.groupby("pair")["fold"].nunique()
    crossing = table["pair"].map(folds_of_pair).to_numpy() > 1
    leaking = crossing & (table["fold"] != PINNED_FOLD).to_numpy()
    validated = int((fold != PINNED_FOLD).sum())
    return {
        "shared_pairs": int((folds_of_pair > 1).sum()),
        "leaking_recordings": int(leaking.sum()),
        "leaking_share": round(float(leaking.sum()) / max(validated, 1), 4),
    }


def _is_unknown(recordist: pd.Series) -> NDArray[np.bool_]:
    return recordist.isin(UNKNOWN_RECORDISTS).to_numpy(bool)


def _pin_lost_species(split: pd.DataFrame) -> pd.DataFrame:
    """Pin, group by group, what would leave a species without training recordings in some fold."""
    while True:
        spread = split[~split["pinned"]].groupby("label")["fold"].nunique()
        always_trained = set(split.loc[split["pinned"], "label"])
        lost = [label for label in spread.index[spread == 1] if label not in always_trained]
        if not lost:
            return split
        split.loc[split["label"].isin(lost), "fold"] = PINNED_FOLD
        split["pinned"] = split["fold"] == PINNED_FOLD


def _write(config: SplitConfig, catalogue: Path, staging: Path) -> None:
    recordings = read_catalogue(catalogue)
    split = assign_folds(recordings, config)
    report = _report(recordings, split, config)
    if report["leak"]["shared_pairs"]:
        raise ValueError(
            f"{report['leak']['shared_pairs']} (recordist, species) pairs stand on both sides of the split of "
            f"{catalogue}. This is a defect of the grouping; please report it with the catalogue."
        )
    split.to_csv(staging / "split.csv", index=False)
    (staging / "split_report.json").write_text(json.dumps(report, indent=2) + "\n")


def _report(recordings: pd.DataFrame, split: pd.DataFrame, config: SplitConfig) -> dict[str, Any]:
    fold = split["fold"].to_numpy()
    validated = split[fold != PINNED_FOLD]
    never = sorted(set(split["label"]) - set(validated["label"]))
    return {
        "folds": config.folds,
        "groups": int(split["group"].nunique()),
        "leak": count_leaks(recordings, fold),
        "coverage": {
            "species": int(split["label"].nunique()),
            "species_validated": int(validated["label"].nunique()),
            "species_never_validated": never,
            "why": "all their usable recordings belong to one group or fold, so they are pinned to training",
            "recordings_pinned": int((fold == PINNED_FOLD).sum()),
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
    """Returns the folds that `StratifiedKFold`, which knows no recordist, would have made."""
    from sklearn.model_selection import StratifiedKFold

    labels = recordings["label"].to_numpy(str)
    fold = np.zeros(len(recordings), np.int64)
    splitter = StratifiedKFold(config.folds, shuffle=True, random_state=config.seed)
    with _long_tail_expected():
        for index, (_, validation) in enumerate(splitter.split(labels, labels)):
            fold[validation] = index
    return fold


@contextmanager
def _long_tail_expected() -> Iterator[None]:
    """Silence scikit-learn's warning about species with fewer recordings than folds; the report lists them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield
