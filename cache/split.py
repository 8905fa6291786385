"""Stage 1: builds the split, or refuses settings that the user's table does not allow.

Groups stay together: by default recordings of one recordist, and duplicates always. A species that occurs in one group
only is the exception: its recordings are pinned to training. When recordings are added or removed, the folds of an
earlier split are kept.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cache.config.data import DataConfig
from cache.config.split import AUTO, SplitConfig
from cache.folds.assignment import assign_folds, check_table, settle_folds
from cache.folds.extension import UNASSIGNED
from cache.folds.fold_count import check_species
from cache.folds.groups import PINNED_FOLD, RECORDIST, RECORDIST_AND_PLACE, is_unknown
from cache.folds.report import log_split, report_split
from cache.folds.split_table import read_split, split_catalogue
from cache.recordings.catalogue_tables import read_catalogue
from cache.recordings.recordist_column import advise_on_author
from cache.recordings.user_table import read_labels, read_recordings
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key, is_finished, read_provenance
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 4
"""Version of the folds; raised by hand when the same catalogue and settings give other folds."""
_COLUMN_VERSION = 5
"""The same for folds of `split.fold_column`."""
_PLACE_VERSION = 6
"""The same for groups by recordist and place."""


def check_split(config: SplitConfig, data: DataConfig, workspace: Workspace) -> None:
    """Check by the user's table, before features are computed, that its recordings allow the split.

    Errors of the table itself, such as missing files, come first.

    Args:
        config: Settings of the split.
        data: Data set.
        workspace: Workspace of the split.

    Raises:
        ValueError: If the table has errors or one species only, or its recordings do not allow the split. The message
            names a number of folds that works.
        FileNotFoundError: If the table, the audio folder or the split `config.keep_folds_of` is missing.
    """
    table = read_recordings(data)
    check_species(table["label"].to_numpy(str))
    if not _keeps_folds(config) or _differing_settings(_find_previous(config, workspace), config):
        check_table(table, config)


def build_split(config: SplitConfig, catalogue: Path, workspace: Workspace) -> Path:
    """Returns the directory of the split, with `split.csv` and `split_report.json`.

    If `config.keep_folds_of` names a split that was made from this catalogue with these settings, that split is
    returned. Otherwise the recordings that both catalogues hold keep their folds; a split that does so is reused if it
    exists. The value `champion` counts as null here: `birdclef.champion` replaces it by a key.

    `config.folds=auto` is replaced by a number first, so the split has the same key as with this number.

    Args:
        config: Settings of the split.
        catalogue: Directory of the catalogue.
        workspace: Workspace of the split.

    Raises:
        ValueError: If there are fewer groups than folds, if no species has as many recordings as folds, or if a
            (recordist, species) pair lies in two folds although recordists must stay together.
        FileNotFoundError: If the workspace has no split `config.keep_folds_of`.
    """
    config = _settle_folds(config, catalogue, workspace)
    recipe = Recipe("splits", config.identity(), {"catalogue": artefact_key(catalogue)}, _version_of(config))
    previous = None
    if _keeps_folds(config):
        extended = replace(recipe, inputs={**recipe.inputs, "previous": str(config.keep_folds_of)})
        made = workspace.artefact(recipe.kind, extended.key)
        if is_finished(made):
            return made
        earlier = _find_previous(config, workspace)
        if differing := _differing_settings(earlier, config):
            logger.info(
                "split: %s has other settings (%s), so all folds are assigned anew", earlier.name, ", ".join(differing)
            )
        else:
            previous = earlier
            if same := _find_like(previous, recipe, workspace):
                if same != previous:
                    logger.info("split: %s has the folds of %s", same.name, previous.name)
                return same
            recipe = extended
    return workspace.materialise(recipe, lambda staging: _write(config, catalogue, previous, workspace, staging))


def _version_of(config: SplitConfig) -> int:
    """Returns the version of the folds that the settings give."""
    if config.fold_column:
        return _COLUMN_VERSION
    return _PLACE_VERSION if config.group_by == RECORDIST_AND_PLACE else VERSION


def _keeps_folds(config: SplitConfig) -> bool:
    """Returns whether the settings name an earlier split whose folds are kept."""
    return config.keep_folds_of not in (None, "champion") and not config.fold_column


def _settle_folds(config: SplitConfig, catalogue: Path, workspace: Workspace) -> SplitConfig:
    """Returns the settings with a number of folds in place of `auto`.

    If folds of an earlier split are kept, its number is taken as long as the recordings allow it: with another number,
    all folds would change.
    """
    if config.folds != AUTO:
        return config
    settled = settle_folds(read_catalogue(catalogue), config)
    kept = _find_previous(config, workspace) if _keeps_folds(config) else None
    if kept and not _differing_settings(kept, config):
        number = min(settled.fold_count, int(read_provenance(kept)["config"]["folds"]))
        settled = settled.model_copy(update={"folds": number})
    logger.info("split: split.folds=auto chooses %d folds", settled.fold_count)
    return settled


def warn_of_unknown_recordists(config: SplitConfig, data: DataConfig) -> None:
    """Log a warning if no row of the user's table has a recordist; raises as `read_labels`."""
    table = read_labels(data)
    if is_unknown(table["recordist"]).all():
        by_recordist = config.group_by in (RECORDIST, RECORDIST_AND_PLACE) and not config.fold_column
        harm = (
            "so every recording counts as the work of another recordist. Recordings by one person may then stand in "
            "training and in validation, and the score is too high"
            if by_recordist
            else "so nobody can tell whether recordings by one person stand in training and in validation"
        )
        logger.warning("split: no row of the table has an author, %s. %s", harm, advise_on_author(table))


def _find_previous(config: SplitConfig, workspace: Workspace) -> Path:
    """Returns the split that `config.keep_folds_of` names.

    Raises:
        FileNotFoundError: If the workspace has no such split.
    """
    previous = workspace.artefact("splits", str(config.keep_folds_of))
    if not is_finished(previous):
        raise FileNotFoundError(
            f"split.keep_folds_of={config.keep_folds_of}: {previous} does not exist. Copy it back with the catalogue "
            "that it names, or set split.keep_folds_of=null to assign new folds."
        )
    return previous


def _differing_settings(previous: Path, config: SplitConfig) -> list[str]:
    """Returns the settings that differ from those of an earlier split; `folds=auto` differs from no number."""
    settings, wanted = read_provenance(previous)["config"], config.identity()
    if config.folds == AUTO:
        wanted["folds"] = settings["folds"]
    return sorted(name for name in {*settings, *wanted} if settings.get(name) != wanted.get(name))


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
    log_split(report, config)
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
    if empty := sorted(set(range(config.fold_count)) - set(split["fold"])):
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
