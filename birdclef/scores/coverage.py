"""Describes which recordings and species of a data set were scored, and why the others were not."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from birdclef.scores.lineage import Lineage
from cache.folds.groups import is_held_out, is_validated
from cache.folds.overlap import measure_overlap, name_groups
from cache.recordings.catalogue_tables import read_duplicates, read_quarantine
from cache.workspace.provenance import read_provenance

_PINNED = "too few groups of usable recordings to spread over folds, so it is always in training"
_PINNED_BY_COLUMN = (
    "the table's column of folds puts its usable recordings into one fold or into none, so it is always in training"
)
_HELD_OUT = "recordings of it are held out (split.test_share), and the others cannot be spread over folds"
_NOT_PREDICTED = "it is validated in folds that the members were not trained for"


def describe_coverage(
    catalogue: pd.DataFrame, recordings: pd.DataFrame, species: pd.DataFrame, lineage: Lineage
) -> dict[str, Any]:
    """Returns how many recordings and species exist, are usable and are scored, and why a species is not scored.

    Args:
        catalogue: label and fold of each usable recording.
        recordings: label of each scored recording.
        species: label of each species with usable recordings.
        lineage: Artefacts behind the predictions.
    """
    quarantined = read_quarantine(lineage.catalogue)
    without_recordings = sorted(set(quarantined["label"]) - set(species["label"]))
    scored = set(recordings["label"])
    whys = _explain_unscored(catalogue, by_column=bool(read_provenance(lineage.split)["config"]["fold_column"]))
    unscored = [{"label": label, "why": whys[label]} for label in species["label"] if label not in scored]
    unscored += [{"label": label, "why": "all its recordings are quarantined"} for label in without_recordings]
    return {
        "recordings": len(catalogue) + len(quarantined),
        "recordings_usable": len(catalogue),
        "recordings_scored": len(recordings),
        "species": len(species) + len(without_recordings),
        "species_scored": len(scored),
        "species_not_scored": unscored,
    }


def _explain_unscored(catalogue: pd.DataFrame, *, by_column: bool) -> dict[str, str]:
    """Returns why each species with usable recordings is not scored, if it is not."""
    pinned = _PINNED_BY_COLUMN if by_column else _PINNED
    whys = dict.fromkeys(catalogue["label"], pinned)
    if not by_column:
        whys |= dict.fromkeys(catalogue.loc[is_held_out(catalogue["fold"]), "label"], _HELD_OUT)
    return whys | dict.fromkeys(catalogue.loc[is_validated(catalogue["fold"]), "label"], _NOT_PREDICTED)


def describe_overlap(catalogue: pd.DataFrame, recordings: pd.DataFrame, lineage: Lineage) -> dict[str, Any]:
    """Returns what the models share with the recordings that they scored, in numbers and sentences.

    `resampled` says what the groups are that intervals resample.

    Args:
        catalogue: recording_id, label, recordist, sound and fold of each usable recording.
        recordings: recording_id and recordist of each scored recording.
        lineage: Artefacts behind the predictions.
    """
    scored = catalogue["recording_id"].isin(recordings["recording_id"]).to_numpy()
    overlap = measure_overlap(catalogue, catalogue["fold"].to_numpy(), scored)
    return {
        **asdict(overlap),
        "sentences": overlap.describe(),
        "resampled": name_groups(read_provenance(lineage.split)["config"], recordings["recordist"]),
    }


def describe_quarantine(catalogue: Path) -> dict[str, Any]:
    """Returns the quarantined recordings of a catalogue, and their number by reason."""
    quarantined = read_quarantine(catalogue)
    return {
        "count": len(quarantined),
        "by_reason": {str(reason): int(count) for reason, count in quarantined["reason"].value_counts().items()},
        "recordings": quarantined.to_dict(orient="records"),
    }


def describe_duplicates(catalogue: Path) -> dict[str, Any]:
    """Returns the pairs of usable recordings that probably hold the same sound, and their number by reason."""
    pairs = read_duplicates(catalogue)
    columns = ["recording_id", "other_recording_id", "label", "other_label", "why"]
    return {
        "count": len(pairs),
        "by_reason": {str(reason): int(count) for reason, count in pairs["why"].value_counts().items()},
        "pairs": pairs[columns].to_dict(orient="records"),
    }


def describe_split(split: Path) -> dict[str, Any]:
    """Returns the report of a split, without the table of counts by species and fold."""
    report: dict[str, Any] = json.loads((split / "split_report.json").read_text())
    return {name: value for name, value in report.items() if name != "class_counts_per_fold"}
