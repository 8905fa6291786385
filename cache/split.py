"""Stage 1: stratified folds in which nothing by one recordist of one species, and no duplicate, crosses to validation.

Groups (recordist, duplicates) stay together; only a species that has no other group is taken out of its group and
pinned to training. Folds of an earlier split are kept when recordings come or go.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.artefact import (
    Recipe,
    artefact_key,
    find_artefact,
    is_finished,
    list_artefacts,
    materialise,
    read_provenance,
)
from cache.catalogue import read_catalogue
from cache.config import SplitConfig
from cache.grouping import PINNED_FOLD, RECORDIST, TEST_FOLD, count_leaks, group_recordings, table_column
from cache.kept_folds import UNASSIGNED, extend_folds

logger = logging.getLogger(__name__)

VERSION = 4
"""Raised by hand when the same catalogue and settings give other folds."""


def build_split(config: SplitConfig, catalogue: Path, workspace: Path) -> Path:
    """Returns the directory of the split: `split.csv` and `split_report.json`.

    With `config.keep_folds_of`, that split itself if it was made from this catalogue with these settings; otherwise one
    in which the recordings that both have keep their folds, an existing one if there is such.

    Raises:
        ValueError: If there are fewer groups, or recordings of each species, than folds, or if a (recordist, species)
            pair crosses folds although recordists are to be kept together.
        FileNotFoundError: If the workspace has no split `config.keep_folds_of`.
    """
    recipe = Recipe("splits", config.identity(), {"catalogue": artefact_key(catalogue)}, VERSION)
    previous = None
    if config.keep_folds_of and not config.fold_column:
        extended = replace(recipe, inputs={**recipe.inputs, "previous": config.keep_folds_of})
        made = find_artefact(workspace, recipe.kind, extended.key)
        if is_finished(made):
            return made
        if previous := _find_previous(config.keep_folds_of, config, workspace):
            if same := _find_like(previous, recipe, workspace):
                logger.info("split: %s has the folds of %s", same.name, previous.name)
                return same
            recipe = extended
    return materialise(workspace, recipe, lambda staging: _write(config, catalogue, previous, workspace, staging))


def _find_previous(key: str, config: SplitConfig, workspace: Path) -> Path | None:
    """Returns the split whose folds are to be kept, if it has the same settings."""
    previous = find_artefact(workspace, "splits", key)
    if not is_finished(previous):
        raise FileNotFoundError(
            f"split.keep_folds_of={key}: {previous} is not there. Copy it back with the catalogue that it names, or "
            "set split.keep_folds_of=null to assign folds anew."
        )
    settings, wanted = read_provenance(previous)["config"], config.identity()
    if settings == wanted:
        return previous
    differing = ", ".join(sorted(name for name in {*settings, *wanted} if settings.get(name) != wanted.get(name)))
    logger.info("split: %s has other settings (%s), so folds are assigned anew", previous.name, differing)
    return None


def _find_like(previous: Path, recipe: Recipe, workspace: Path) -> Path | None:
    """Returns the previous split if it is a recipe's, or the newest one of it in which no audio changes its fold."""
    earlier = _read_audio_folds(previous, workspace)
    earlier = earlier[earlier != PINNED_FOLD]
    found: list[tuple[str, Path]] = []
    for split in (path for path in list_artefacts(workspace) if path.parent.name == recipe.kind):
        made = read_provenance(split)
        same = made["config"] == recipe.config and made["inputs"]["catalogue"] == recipe.inputs["catalogue"]
        if same and made["version"] == recipe.version:
            fold = _read_audio_folds(split, workspace).reindex(earlier.index)
            if fold.notna().any() and (fold.isna() | (fold == earlier)).all():
                found.append((made["created"], split))
    return max(found, key=lambda one: (one[1] == previous, one))[1] if found else None


def read_split(directory: Path) -> pd.DataFrame:
    """Returns recording_id, label, fold (-1: always in training, -2: held out), group, pinned."""
    table = pd.read_csv(directory / "split.csv", dtype=str, keep_default_na=False)
    return table.assign(fold=table["fold"].astype("int64"), pinned=table["pinned"] == "True")


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
    with _long_tail_expected():
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


def _write(config: SplitConfig, catalogue: Path, previous: Path | None, workspace: Path, staging: Path) -> None:
    # Imported here so that a split found in the workspace does not pay for matplotlib.
    from cache.pictures import plot_split

    recordings = read_catalogue(catalogue)
    split, kept = _extend(recordings, config, previous, workspace) if previous else (None, None)
    if split is None:
        split = assign_folds(recordings, config)
    report = {**_report(recordings, split, config), "kept": kept}
    lenient = config.fold_column or config.group_by != RECORDIST
    if report["leak"]["shared_pairs"] and lenient:
        logger.warning(
            "split: %d (recordist, species) pairs stand on both sides, as split.%s lets them: scores are flattered",
            report["leak"]["shared_pairs"],
            f"fold_column={config.fold_column}" if config.fold_column else f"group_by={config.group_by}",
        )
    elif report["leak"]["shared_pairs"]:
        raise ValueError(
            f"{report['leak']['shared_pairs']} (recordist, species) pairs stand on both sides of the split of "
            f"{catalogue}. This is a defect of the grouping; please report it with the catalogue."
        )
    split.to_csv(staging / "split.csv", index=False)
    (staging / "split.png").write_bytes(plot_split(split, report))
    (staging / "split_report.json").write_text(json.dumps(report, indent=2) + "\n")


def _extend(
    recordings: pd.DataFrame, config: SplitConfig, previous: Path, workspace: Path
) -> tuple[pd.DataFrame | None, dict[str, Any] | None]:
    """Returns the split that keeps an earlier one's folds, and what was kept; none if it cannot be kept."""
    fold_of = _read_audio_folds(previous, workspace)
    earlier = recordings["sha256"].map(fold_of).fillna(UNASSIGNED).to_numpy(np.int64)
    known = earlier != UNASSIGNED
    if not known.any():
        logger.warning("split: no recording of %s is left, so folds are assigned anew", previous.name)
        return None, None
    split = assign_folds(recordings, config, earlier)
    if empty := sorted(set(range(config.folds)) - set(split["fold"])):
        logger.warning(
            "split: too little of %s is left, fold %s would be empty, so folds are assigned anew", previous.name, empty
        )
        return None, None
    fold = split["fold"].to_numpy()
    kept = {
        "split": previous.name,
        "recordings_kept": int((known & (fold == earlier)).sum()),
        "recordings_unpinned": int(((earlier == PINNED_FOLD) & (fold != PINNED_FOLD)).sum()),
        "recordings_moved": int((known & (earlier != PINNED_FOLD) & (fold != earlier)).sum()),
        "recordings_new": int((~known).sum()),
        "recordings_gone": int((~fold_of.index.isin(recordings["sha256"])).sum()),
    }
    logger.info(
        "split: of the folds of %s %d recordings are kept, %d leave training only, %d move; %d are new, %d are gone",
        *kept.values(),
    )
    return split, kept


def _read_audio_folds(split: Path, workspace: Path) -> pd.Series:
    """Returns the fold of a split's audio, by its sha256: a file may have been renamed since."""
    catalogue = find_artefact(workspace, "catalogues", read_provenance(split)["inputs"]["catalogue"])
    audio = read_catalogue(catalogue)[["recording_id", "sha256"]]
    folds = read_split(split).merge(audio, on="recording_id").drop_duplicates("sha256")
    return folds.set_index("sha256")["fold"]


def _report(recordings: pd.DataFrame, split: pd.DataFrame, config: SplitConfig) -> dict[str, Any]:
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
