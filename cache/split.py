"""Stage 1: builds the split. Recordings of one recordist and species, and duplicates, never lie in two folds.

Groups (same recordist, duplicates) stay together. A species that occurs in one group only is the exception: its
recordings are pinned to training. When recordings are added or removed, the folds of an earlier split are kept.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cache.config.split import SplitConfig
from cache.folds.assignment import assign_folds
from cache.folds.extension import UNASSIGNED
from cache.folds.groups import PINNED_FOLD, RECORDIST
from cache.folds.report import report_split
from cache.folds.split_table import read_split, split_catalogue
from cache.recordings.catalogue_tables import read_catalogue
from cache.workspace.artefact import Recipe, artefact_key, is_finished, read_provenance
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 4
"""Version of the folds; raised by hand when the same catalogue and settings give other folds."""


def build_split(config: SplitConfig, catalogue: Path, workspace: Workspace) -> Path:
    """Returns the directory of the split, with `split.csv` and `split_report.json`.

    If `config.keep_folds_of` names a split that was made from this catalogue with these settings, that split is
    returned. Otherwise the recordings that both catalogues hold keep their folds; a split that does so is reused if it
    exists. The value `champion` counts as null here: `birdclef.champion` replaces it by a key.

    Args:
        config: Settings of the split.
        catalogue: Directory of the catalogue.
        workspace: Workspace of the split.

    Raises:
        ValueError: If there are fewer groups than folds, if no species has as many recordings as folds, or if a
            (recordist, species) pair lies in two folds although recordists must stay together.
        FileNotFoundError: If the workspace has no split `config.keep_folds_of`.
    """
    recipe = Recipe("splits", config.identity(), {"catalogue": artefact_key(catalogue)}, VERSION)
    previous = None
    if config.keep_folds_of not in (None, "champion") and not config.fold_column:
        extended = replace(recipe, inputs={**recipe.inputs, "previous": config.keep_folds_of})
        made = workspace.artefact(recipe.kind, extended.key)
        if is_finished(made):
            return made
        if previous := _find_previous(config.keep_folds_of, config, workspace):
            if same := _find_like(previous, recipe, workspace):
                logger.info("split: %s has the folds of %s", same.name, previous.name)
                return same
            recipe = extended
    return workspace.materialise(recipe, lambda staging: _write(config, catalogue, previous, workspace, staging))


def _find_previous(key: str, config: SplitConfig, workspace: Workspace) -> Path | None:
    """Returns the split whose folds are kept; None if its settings differ from the configuration.

    Raises:
        FileNotFoundError: If the workspace has no such split.
    """
    previous = workspace.artefact("splits", key)
    if not is_finished(previous):
        raise FileNotFoundError(
            f"split.keep_folds_of={key}: {previous} does not exist. Copy it back with the catalogue that it names, or "
            "set split.keep_folds_of=null to assign new folds."
        )
    settings, wanted = read_provenance(previous)["config"], config.identity()
    if settings == wanted:
        return previous
    differing = ", ".join(sorted(name for name in {*settings, *wanted} if settings.get(name) != wanted.get(name)))
    logger.info("split: %s has other settings (%s), so all folds are assigned anew", previous.name, differing)
    return None


def _find_like(previous: Path, recipe: Recipe, workspace: Workspace) -> Path | None:
    """Returns an existing split of a recipe that keeps the folds of an earlier split; None if there is none.

    That is the earlier split itself if the recipe is the same, else the newest split in which no audio of the earlier
    split, except pinned audio, has another fold.

    Args:
        previous: Earlier split.
        recipe: Recipe of a split without an earlier one.
        workspace: Workspace of the splits.
    """
    earlier = _read_audio_folds(previous, workspace)
    earlier = earlier[earlier != PINNED_FOLD]
    found: list[tuple[str, Path]] = []
    for split in workspace.artefacts(recipe.kind):
        made = read_provenance(split)
        same = made["config"] == recipe.config and made["inputs"]["catalogue"] == recipe.inputs["catalogue"]
        if same and made["version"] == recipe.version:
            fold = _read_audio_folds(split, workspace).reindex(earlier.index)
            if fold.notna().any() and (fold.isna() | (fold == earlier)).all():
                found.append((made["created"], split))
    return max(found, key=lambda one: (one[1] == previous, one))[1] if found else None


def _write(config: SplitConfig, catalogue: Path, previous: Path | None, workspace: Workspace, staging: Path) -> None:
    # Imported here so that a split that exists does not load matplotlib.
    from cache.plots.data_set import plot_split

    recordings = read_catalogue(catalogue)
    split, kept = _extend(recordings, config, previous, workspace) if previous else (None, None)
    if split is None:
        split = assign_folds(recordings, config)
    report = {**report_split(recordings, split, config), "kept": kept}
    lenient = config.fold_column or config.group_by != RECORDIST
    if report["leak"]["shared_pairs"] and lenient:
        logger.warning(
            "split: %d (recordist, species) pairs lie in training and validation, as split.%s allows: scores are too "
            "optimistic",
            report["leak"]["shared_pairs"],
            f"fold_column={config.fold_column}" if config.fold_column else f"group_by={config.group_by}",
        )
    elif report["leak"]["shared_pairs"]:
        raise ValueError(
            f"{report['leak']['shared_pairs']} (recordist, species) pairs lie in training and validation of the split "
            f"of {catalogue}. This is a defect of the grouping. Please report it with the catalogue."
        )
    split.to_csv(staging / "split.csv", index=False)
    (staging / "split.png").write_bytes(plot_split(split, report))
    (staging / "split_report.json").write_text(json.dumps(report, indent=2) + "\n")


def _extend(
    recordings: pd.DataFrame, config: SplitConfig, previous: Path, workspace: Workspace
) -> tuple[pd.DataFrame | None, dict[str, Any] | None]:
    """Returns the split that keeps the folds of an earlier one, and counts of kept folds; None if too few are left."""
    fold_of = _read_audio_folds(previous, workspace)
    earlier = recordings["sha256"].map(fold_of).fillna(UNASSIGNED).to_numpy(np.int64)
    known = earlier != UNASSIGNED
    if not known.any():
        logger.warning("split: no recording of %s is left, so all folds are assigned anew", previous.name)
        return None, None
    split = assign_folds(recordings, config, earlier)
    if empty := sorted(set(range(config.folds)) - set(split["fold"])):
        logger.warning(
            "split: too few recordings of %s are left, fold %s would be empty, so all folds are assigned anew",
            previous.name,
            empty,
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


def _read_audio_folds(split: Path, workspace: Workspace) -> pd.Series:
    """Returns the fold of each audio of a split, by sha256, because files may have been renamed since."""
    catalogue = split_catalogue(split, workspace)
    audio = read_catalogue(catalogue)[["recording_id", "sha256"]]
    folds = read_split(split).merge(audio, on="recording_id").drop_duplicates("sha256")
    return folds.set_index("sha256")["fold"]
