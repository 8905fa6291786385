"""Finds which recordings earlier reports and comparisons of a workspace scored out of fold."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cache.folds.split_table import split_catalogue
from cache.recordings.catalogue_tables import read_catalogue
from cache.workspace.provenance import is_finished, read_provenance
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

    The reports of a sweep are reports of the workspace.

    Args:
        report: Key of the report.
        recordings: First digits of the sha256 of each held-out recording, all of the same length.
        date: Time up to which artefacts count, ISO 8601 in UTC.
        workspace: Where artefacts lie.
    """
    held_out = set(recordings)
    digits = min(map(len, held_out), default=0)
    decided = {str(one["report"]) for one in read_records("models", workspace)}
    reports = [
        workspace.artefact("reports", key)
        for key in sorted(decided | {path.name for path in workspace.artefacts("reports")})
        if key != report
    ]
    found: dict[str, set[str]] = {}
    for kind, paths in (("report", reports), ("comparison", workspace.artefacts("comparisons"))):
        for path in _made_before(date, paths):
            scored = _read_report(path) if kind == "report" else _read_comparison(path, workspace)
            if own := held_out & {sha256[:digits] for sha256 in scored}:
                found[f"{kind} {path.name}"] = own
    missing = tuple(path.name for path in reports if not is_finished(path))
    return EarlierScores(len(set().union(*found.values())), tuple(found), missing)


def _made_before(date: str, paths: Iterable[Path]) -> Iterator[Path]:
    """Yields the artefacts that are still there and were made before a time, the oldest first."""
    created = sorted((read_provenance(path)["created"], path) for path in paths if is_finished(path))
    return (path for when, path in created if when <= date)


def _read_report(report: Path) -> list[str]:
    return pd.read_csv(report / "recordings.csv", usecols=["sha256"], dtype=str)["sha256"].tolist()


def _read_comparison(comparison: Path, workspace: Workspace) -> list[str]:
    """Returns the sha256 of the recordings that a comparison's trials predicted, as far as predictions are left."""
    made = (workspace.artefact("predictions", key) for key in read_provenance(comparison)["inputs"].values())
    found: dict[str, set[str]] = {}
    for path in filter(is_finished, made):
        if run := read_provenance(path)["inputs"].get("run"):
            split = read_provenance(workspace.artefact("runs", run))["inputs"]["split"]
            predicted = pd.read_csv(path / "recordings.csv", dtype=str, keep_default_na=False)["recording_id"]
            found.setdefault(split, set()).update(predicted)
    sha256s = []
    for split, predicted_ids in found.items():
        catalogue = read_catalogue(split_catalogue(workspace.artefact("splits", split), workspace))
        sha256s += catalogue.loc[catalogue["recording_id"].isin(predicted_ids), "sha256"].tolist()
    return sha256s
