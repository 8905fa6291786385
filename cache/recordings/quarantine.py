"""Decides which recordings are quarantined, and when too many of them are."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cache.config.data import DataConfig
from cache.config.features import FeatureConfig
from cache.recordings.catalogue_tables import read_quarantine
from cache.store.strip_store import StripStore

logger = logging.getLogger(__name__)

_NAMED_RECORDINGS = 3
"""Recordings that the log names for each reason."""


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
    """Returns the reason and the detail of each recording that must not be used, by recording_id.

    Args:
        table: Recordings with recording_id, label, sha256 and seconds.
        data: Limits for usable recordings.
        strips: Store that holds the strips, and the failures of recordings without one.
    """
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
            faults[name] = "label_conflict", f"the same bytes have the labels {', '.join(contested[sha256])}"
    return faults


def log_quarantine(directory: Path) -> None:
    """Log how many recordings of a catalogue are usable, and as a warning which ones are not, by reason."""
    summary = json.loads((directory / "summary.json").read_text())
    counts = f"{summary['usable']} of {summary['recordings']} recordings usable"
    if not summary["quarantined"]:
        logger.info("catalogue: %s", counts)
        return
    quarantine = read_quarantine(directory)
    told = [
        f"{count} {reason} ({_name_some(quarantine.loc[quarantine['reason'] == reason, 'recording_id'].tolist())})"
        for reason, count in quarantine["reason"].value_counts().items()
    ]
    logger.warning("catalogue: %s; quarantine: %s", counts, ", ".join(told))


def _name_some(names: list[str]) -> str:
    more = len(names) - _NAMED_RECORDINGS
    return ", ".join(names[:_NAMED_RECORDINGS]) + (f" and {more} more" if more > 0 else "")


def refuse_bad_data(directory: Path, data: DataConfig) -> None:
    """Stop if more recordings of a catalogue are quarantined than the data set allows, or all of them.

    Args:
        directory: Directory of the catalogue.
        data: Largest share of quarantined recordings.

    Raises:
        ValueError: If too many recordings are quarantined; the message counts them by reason.
    """
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
