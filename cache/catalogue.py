"""Builds the catalogue of a data set: the usable recordings, the duplicates among them, and the quarantine."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cache.config.data import DataConfig
from cache.config.features import FeatureConfig, read_features
from cache.recordings.catalogue_tables import read_quarantine
from cache.store.strip_store import StripStore
from cache.workspace.artefact import Recipe, artefact_key, content_key, read_provenance
from cache.workspace.feature_directory import FeatureDirectory
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
    _refuse_bad_data(directory, data)
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


def measure_strips(recordings: pd.DataFrame, strips: StripStore, features: FeatureConfig) -> pd.DataFrame:
    """Returns the recordings with the frames and the seconds of their strips; both are 0 without a strip."""
    located = [strips.strips.get(sha256) for sha256 in recordings["sha256"]]
    frames = np.array([strip.frames if strip else 0 for strip in located])
    stated = np.array([np.nan if strip is None or strip.seconds is None else strip.seconds for strip in located])
    seconds = np.where(np.isnan(stated), frames / features.frames_per_second, stated)
    return recordings.assign(frames=frames, seconds=np.round(seconds, 3))


def part_by_faults(table: pd.DataFrame, faults: Mapping[str, tuple[str, str]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the usable recordings, and the quarantine with reason and detail; both are sorted by recording_id.

    Args:
        table: recording_id, label, sha256 and other columns of all recordings.
        faults: Reason and detail of each recording that must not be used, by recording_id.
    """
    ordered = table.sort_values("recording_id")
    quarantined = ordered["recording_id"].isin(faults.keys())
    names = ordered.loc[quarantined, "recording_id"]
    quarantine = ordered.loc[quarantined, ["recording_id", "label", "sha256"]].assign(
        reason=[faults[name][0] for name in names], detail=[faults[name][1] for name in names]
    )
    return ordered[~quarantined], quarantine


def find_faults(table: pd.DataFrame, data: DataConfig, strips: StripStore) -> dict[str, tuple[str, str]]:
    """Returns the reason and the detail of each recording that must not be used, by recording_id."""
    labelled = table[["sha256", "label"]].drop_duplicates()
    contested = labelled[labelled.duplicated("sha256", keep=False)].groupby("sha256")["label"].agg(sorted)
    faults = {}
    for name, sha256, seconds in zip(table["recording_id"], table["sha256"], table["seconds"], strict=True):
        strip, failure = strips.strips.get(sha256), strips.failures.get(sha256)
        if failure:
            faults[name] = failure.reason, failure.detail
        elif strip is None:
            faults[name] = "unreadable", "the file vanished, changed, could not be read or its process was killed"
        elif seconds < data.min_seconds:
            faults[name] = "too_short", f"{seconds:.3f} s decode, data.min_seconds is {data.min_seconds:g}"
        elif strip.peak_db < data.silence_db:
            faults[name] = "silent", f"peak {strip.peak_db:.1f} dB, data.silence_db is {data.silence_db:g}"
        elif sha256 in contested.index:
            faults[name] = "label_conflict", f"the same bytes stand under {', '.join(contested[sha256])}"
    return faults


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
        scientific_name=("scientific_name", "first"), common_name=("common_name", "first"), recordings=("label", "size")
    )


def _refuse_bad_data(directory: Path, data: DataConfig) -> None:
    summary = json.loads((directory / "summary.json").read_text())
    share = summary["quarantined"] / summary["recordings"]
    if share > data.max_quarantined_share or not summary["usable"]:
        reasons = read_quarantine(directory)["reason"].value_counts().to_dict()
        counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        limit = f", more than data.max_quarantined_share={data.max_quarantined_share:g}" if summary["usable"] else ""
        remedy = f", or set data.max_quarantined_share={math.ceil(100 * share) / 100:g}" if summary["usable"] else ""
        raise ValueError(
            f"{summary['quarantined']} of {summary['recordings']} recordings are unusable ({counted}){limit}. "
            f"{directory / 'quarantine.csv'} lists them with their reasons. Repair or remove these recordings{remedy}."
        )
