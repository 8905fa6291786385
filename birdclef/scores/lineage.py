"""Finds the runs, split, catalogue and features behind predictions."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from birdclef.scores.report_file import read_report
from cache.config.features import read_features
from cache.folds.split_table import read_split, split_catalogue
from cache.recordings.catalogue_tables import feature_directory, read_catalogue
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.file_format import DamagedArtefactError, OtherFormatError
from cache.workspace.provenance import is_finished, read_provenance
from cache.workspace.workspace import Workspace

_NAMED_DIFFERENCES = 5


@dataclass(frozen=True)
class Lineage:
    """Artefact directories behind a set of predictions.

    Attributes:
        runs: Runs that predicted.
        split: Split that the runs share.
        catalogue: Catalogue that the split was made from.
        features: Features that the catalogue was made from.
    """

    runs: tuple[Path, ...]
    split: Path
    catalogue: Path
    features: FeatureDirectory


def trace(predictions: Iterable[Path], baseline: Path, workspace: Workspace) -> Lineage:
    """Returns the artefacts behind predictions and a baseline.

    Args:
        predictions: Prediction directories of all members.
        baseline: Predictions of the baseline.
        workspace: Where artefacts lie.

    Raises:
        ValueError: If the predictions and the baseline come from different splits.
    """
    runs = tuple(workspace.artefact("runs", read_provenance(path)["inputs"]["run"]) for path in predictions)
    splits = sorted({str(read_provenance(path)["inputs"]["split"]) for path in (*runs, baseline)})
    if len(splits) != 1:
        first, other = (read_split(workspace.artefact("splits", key)) for key in splits[:2])
        raise ValueError(
            f"The predictions come from {len(splits)} different splits ({', '.join(splits)}), so their folds do not "
            f"match: {list_differences(first, other)}. Train all members, and fit the baseline, on one split."
        )
    split = workspace.artefact("splits", splits[0])
    catalogue = split_catalogue(split, workspace)
    return Lineage(runs, split, catalogue, feature_directory(catalogue, workspace))


def report_predictions(report: Path, workspace: Workspace) -> dict[str, list[Path]]:
    """Returns the prediction directories of each member of a report by name, one per fold."""
    members: dict[str, list[Path]] = {}
    for name, key in read_provenance(report)["inputs"].items():
        if "/" in name:  # not a baseline, nor a list of species
            members.setdefault(name.rsplit("/", 1)[0], []).append(workspace.artefact("predictions", key))
    return members


def find_split(runs: Iterable[Path], workspace: Workspace) -> Path:
    """Returns the split of runs that share one."""
    (key,) = {str(read_provenance(run)["inputs"]["split"]) for run in runs}
    return workspace.artefact("splits", key)


def read_usable_recordings(report: Path, workspace: Workspace) -> pd.DataFrame:
    """Returns the usable recordings behind a report, as `read_catalogue`, with the fold of each in the report's split.

    Raises:
        FileNotFoundError: If the split or its catalogue is missing.
    """
    split = workspace.artefact("splits", read_report(report)["lineage"]["split"]["key"])
    missing = split if not is_finished(split) else split_catalogue(split, workspace)
    if not is_finished(missing):
        raise FileNotFoundError(
            f"{workspace.address(missing)} is missing, which report {report.name} was made with, so nobody can tell "
            "what its models were trained on. Restore it from a backup, or choose another champion with `birdclef "
            "models promote REPORT`."
        )
    return read_catalogue(missing).merge(
        read_split(split)[["recording_id", "fold"]], on="recording_id", validate="one_to_one"
    )


def find_incomplete_reports(workspace: Workspace) -> dict[Path, list[str]]:
    """Returns the reports of a workspace that cannot predict, each with the keys of its runs that are missing.

    Reports of other versions of birdclef are left out, and so are workspaces at a URL, which fetch runs on demand.
    """
    incomplete: dict[Path, list[str]] = {}
    for report in workspace.artefacts("reports") if workspace.mirror is None else ():
        with suppress(OtherFormatError, DamagedArtefactError):
            runs = {str(run["key"]) for run in read_report(report)["lineage"]["runs"]}
            missing = sorted(key for key in runs if not is_finished(workspace.artefact("runs", key)))
            if missing:
                incomplete[report] = missing
    return incomplete


def list_differences(first: pd.DataFrame, other: pd.DataFrame) -> str:
    """Returns a text that says in which recordings, species and folds two splits differ, with examples.

    Args:
        first: recording_id, label and fold of each recording of one split.
        other: The same columns of the other split.
    """
    both = first.merge(other, on="recording_id", suffixes=("", "_other"))
    moved = both.loc[both["fold"] != both["fold_other"], "recording_id"]
    relabelled = both.loc[both["label"] != both["label_other"], "recording_id"]
    differences = {
        "species in only one": sorted(set(first["label"]) ^ set(other["label"])),
        "recordings in only one": sorted(set(first["recording_id"]) ^ set(other["recording_id"])),
        "recordings under another species": sorted(relabelled),
        "recordings in another fold": sorted(moved),
    }
    return "; ".join(f"{len(names)} {what} ({_name_some(names)})" for what, names in differences.items() if names)


def describe(lineage: Lineage, predictions: Iterable[Path], workspace: Workspace) -> dict[str, Any]:
    """Returns keys, settings and versions of all artefacts behind a report, and one sha256 over all audio files.

    Args:
        lineage: Artefacts behind the predictions.
        predictions: Prediction directories of all members.
        workspace: Where artefacts lie.
    """
    features, catalogue, split = (
        read_provenance(directory) for directory in (lineage.features.path, lineage.catalogue, lineage.split)
    )
    runs = [read_provenance(run) for run in lineage.runs]
    digests = sorted(read_catalogue(lineage.catalogue)["sha256"])
    audio = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return {
        "audio": {"recordings": len(digests), "sha256": audio},
        "features": {"key": features["key"], "config": features["config"]},
        "member_features": _describe_stores(lineage, workspace),
        "catalogue": {"key": catalogue["key"], "config": catalogue["config"], "table": catalogue["inputs"]["table"]},
        "split": {"key": split["key"], "config": split["config"]},
        "runs": [{"key": run["key"], "config": run["config"], "seconds": run["seconds"]} for run in runs],
        "predictions": [path.name for path in predictions],
        "packages": runs[0]["packages"],
        "hardware": runs[0]["hardware"],
    }


def list_embedding_stores(lineage: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns key and settings of the features behind a report that are embeddings.

    Args:
        lineage: Result of `describe`.
    """
    stores = [lineage["features"], *lineage["member_features"]]
    return [store for store in stores if read_features(store["config"]).kind == "embedding"]


def _describe_stores(lineage: Lineage, workspace: Workspace) -> list[dict[str, Any]]:
    """Returns key and settings of features that a run read in place of the features behind the split."""
    keys = sorted({str(key) for run in lineage.runs if (key := read_provenance(run)["inputs"].get("features"))})
    stores = [read_provenance(workspace.artefact("features", key)) for key in keys]
    return [{"key": store["key"], "config": store["config"]} for store in stores]


def _name_some(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NAMED_DIFFERENCES else ""
    return ", ".join(names[:_NAMED_DIFFERENCES]) + more
