"""Builds the catalogue of a data set: the usable recordings, the duplicates among them, and the quarantine."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cache.config.data import DataConfig
from cache.config.features import read_features
from cache.recordings.quarantine import find_faults, log_quarantine, measure_strips, part_by_faults, refuse_bad_data
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe, content_key
from cache.workspace.provenance import artefact_key, read_provenance
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 3
"""Version of the catalogue; raised by hand when the same recordings give another catalogue."""

_SCANNED = ["size", "version"]


def build_catalogue(recordings: pd.DataFrame, data: DataConfig, store: FeatureDirectory, workspace: Workspace) -> Path:
    """Returns the directory of a data set's catalogue; the strips must be computed before.

    Args:
        recordings: Table from `read_recordings`, with the column `sha256`.
        data: Data set, with the limits for usable recordings.
        store: Feature directory with the strips.
        workspace: Workspace of the catalogue.

    Raises:
        ValueError: If more than `data.max_quarantined_share` of the recordings is unusable, or all of them.
    """
    table = recordings.drop(columns=_SCANNED).sort_values("recording_id", ignore_index=True)
    strips = StripStore(store)
    audio = sorted(set(table["sha256"]))
    unreadable = [sha256 for sha256 in audio if sha256 not in strips]
    failures = [replace(strips.failures[sha256], decoder=None) for sha256 in audio if sha256 in strips.failures]
    inputs = {
        "features": artefact_key(store.path),
        "table": content_key(table.to_csv(index=False)),
        # when such a file can be read, or decoded with a higher limit, the catalogue must get another key
        "unusable": content_key([unreadable, [failure.entry() for failure in failures]]),
    }
    recipe = Recipe("catalogues", data.identity(), inputs, VERSION)
    directory = workspace.materialise(recipe, lambda staging: _write(table, data, strips, store, workspace, staging))
    log_quarantine(directory)
    refuse_bad_data(directory, data)
    return directory


def _write(
    recordings: pd.DataFrame,
    data: DataConfig,
    strips: StripStore,
    store: FeatureDirectory,
    workspace: Workspace,
    staging: Path,
) -> None:
    # Imported here so that a catalogue that exists does not load SciPy and matplotlib.
    from cache.duplicates.compared_log_mel import ComparedLogMel
    from cache.duplicates.pairs import find_duplicates, name_sounds
    from cache.plots.data_set import plot_catalogue

    features = read_features(read_provenance(store.path)["config"])
    table = measure_strips(recordings, strips, features)
    faults = find_faults(table, data, strips)
    usable, quarantine = part_by_faults(table, faults)
    memory = workspace.directory / "similarities" / f"{store.key}.csv"
    compared = ComparedLogMel(strips, features, data, usable)
    duplicates = find_duplicates(usable, strips, compared, memory, workspace)
    duplicates.to_csv(staging / "duplicates.csv", index=False)
    usable = usable.assign(sound=name_sounds(usable, duplicates))
    usable.to_csv(staging / "recordings.csv", index=False)
    _count_species(usable).to_csv(staging / "species.csv", index=False)
    quarantine.to_csv(staging / "quarantine.csv", index=False)
    summary = {
        "recordings": len(recordings),
        "usable": len(usable),
        "quarantined": len(quarantine),
        "species": int(usable["label"].nunique()),
        "duplicates": int((usable["sound"] != usable["recording_id"]).sum()),
        "hours": round(float(usable["seconds"].sum()) / 3600, 4),
    }
    _warn_of_doubtful_labels(duplicates)
    (staging / "catalogue.png").write_bytes(plot_catalogue(usable, quarantine))
    (staging / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def _warn_of_doubtful_labels(duplicates: pd.DataFrame) -> None:
    from cache.duplicates.pairs import SAME_TAKE

    doubtful = duplicates[(duplicates["why"] != SAME_TAKE) & (duplicates["label"] != duplicates["other_label"])]
    if len(doubtful):
        first = doubtful.iloc[0]
        logger.warning(
            "catalogue: %d pair(s) of recordings hold the same sound under two labels, such as %s and %s. "
            "duplicates.csv lists them",
            len(doubtful),
            first["recording_id"],
            first["other_recording_id"],
        )


def _count_species(usable: pd.DataFrame) -> pd.DataFrame:
    named = usable.assign(scientific_name=usable.get("scientific_name", ""), common_name=usable.get("common_name", ""))
    return named.groupby("label", as_index=False, sort=True).agg(
        scientific_name=("scientific_name", _first_name),
        common_name=("common_name", _first_name),
        recordings=("label", "size"),
    )


def _first_name(names: pd.Series) -> str:
    """Returns the first name that is not blank, because the table need not name a species in every row."""
    return str(next((name for name in names if name.strip()), names.iloc[0]))
