"""Finds which recordings earlier reports and comparisons of a workspace scored out of fold."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

import pandas as pd

from birdclef.scores.stored_files import list_stored, read_stored, read_stored_provenance
from cache.folds.split_table import split_catalogue
from cache.recordings.catalogue_tables import read_catalogue
from cache.workspace.records import read_records
from cache.workspace.workspace import Workspace


@dataclass(frozen=True)
class EarlierScores:
    """Which of some recordings were scored out of fold, and by what.

    Attributes:
        recordings: Number of the recordings that at least one report or comparison scored.
        by: Name of each such report and comparison, such as "report 0123456789abcdef".
        missing: Reports that decisions name and that are gone, so that nobody can tell what they scored.
    """

    recordings: int
    by: tuple[str, ...]
    missing: tuple[str, ...]


def find_earlier_scores(report: str, recordings: Collection[str], date: str, workspace: Workspace) -> EarlierScores:
    """Returns which of a report's held-out recordings other reports, sweeps and comparisons scored.

    The reports of a sweep are reports of the workspace. In a workspace at a URL those of all machines count.

    Args:
        report: Key of the report.
        recordings: First digits of the sha256 of each held-out recording, all of the same length.
        date: Time up to which artefacts count, ISO 8601 in UTC.
        workspace: Where artefacts lie.
    """
    held_out = set(recordings)
    digits = min(map(len, held_out), default=0)
    decided = set(read_records("models", workspace, lambda content: str(content["report"]))) - {report}
    reports = _read_records("reports", decided | list_stored("reports", workspace) - {report}, workspace)
    comparisons = _read_records("comparisons", list_stored("comparisons", workspace), workspace)
    scored = {f"report {key}": _read_report(key, workspace) for key in _made_before(date, reports)} | {
        f"comparison {key}": _read_comparison(comparisons[key], workspace) for key in _made_before(date, comparisons)
    }
    shared = {name: held_out.intersection(one[:digits] for one in sha256s) for name, sha256s in scored.items()}
    found = {name: own for name, own in shared.items() if own}
    missing = tuple(sorted(decided - reports.keys()))
    return EarlierScores(len(set().union(*found.values())), tuple(found), missing)


def _read_records(kind: str, keys: Iterable[str], workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Returns the provenance record of each artefact that is still there, by key."""
    records = {key: read_stored_provenance(kind, key, workspace) for key in sorted(keys)}
    return {key: record for key, record in records.items() if record}


def _made_before(date: str, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the keys of the artefacts that were made before a time, the oldest first."""
    return sorted((key for key in records if records[key]["created"] <= date), key=lambda key: records[key]["created"])


def _read_report(report: str, workspace: Workspace) -> list[str]:
    return _read_table("reports", report, workspace)["sha256"].tolist()


def _read_comparison(record: Mapping[str, Any], workspace: Workspace) -> list[str]:
    """Returns the sha256 of the recordings that a comparison's trials predicted, as far as predictions are left.

    All trials predicted the same recordings, so those of one trial tell them, fold by fold.
    """
    of_fold: dict[str, list[str]] = {}
    for name, key in record["inputs"].items():  # arm/epochs/seed/fold, or the name of a baseline
        of_fold.setdefault(name.rpartition("/")[2], []).append(key)
    found: dict[str, set[str]] = {}
    for keys in of_fold.values():
        for split, predictions in islice(_find_predictions(keys, workspace), 1):
            predicted = _read_table("predictions", predictions, workspace)["recording_id"]
            found.setdefault(split, set()).update(predicted)
    sha256s = []
    for split, predicted_ids in found.items():
        catalogue = read_catalogue(split_catalogue(workspace.artefact("splits", split), workspace))
        sha256s += catalogue.loc[catalogue["recording_id"].isin(predicted_ids), "sha256"].tolist()
    return sha256s


def _find_predictions(keys: Iterable[str], workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yields split and key of the predictions by runs that are still there."""
    for key in keys:
        made = read_stored_provenance("predictions", key, workspace)
        if made and "run" in made["inputs"]:
            run = read_stored_provenance("runs", made["inputs"]["run"], workspace)
            if run:
                yield run["inputs"]["split"], key


def _read_table(kind: str, key: str, workspace: Workspace) -> pd.DataFrame:
    content = read_stored(kind, key, "recordings.csv", workspace)
    return pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False)
