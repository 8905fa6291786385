"""Compares reports with each other on the recordings that all of them scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.comparison.comparability import find_doubts
from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.classification import score_species
from birdclef.metrics.headline import HEADLINE_METRICS, METRIC_TITLES, HeadlineMetric
from birdclef.metrics.predictions import Predictions
from birdclef.report.rendering import render
from birdclef.report.species_names import name_species
from birdclef.scores.json_values import replace_nan
from birdclef.scores.report_file import REPORT, read_report
from birdclef.scores.scorer import Scorer, build_scorer, no_difference
from cache.folds.overlap import name_groups
from cache.workspace.file_format import DamagedArtefactError
from cache.workspace.provenance import check_files, is_finished

_NAMED_SPECIES = 10
_FILES = (REPORT, "oof.npz", "recordings.csv")


class NothingInCommonError(ValueError):
    """The reports scored no recording in common."""


@dataclass(frozen=True)
class ReportPredictions:
    """Out-of-fold predictions of a report.

    Attributes:
        name: Key of the report.
        recordings: recording_id, sha256, label, secondary_labels, recordist, fold and group of each recording; no
            sha256 occurs twice.
        species: Label of each column of `probabilities`.
        names: Name of each species by its label.
        split: Settings of the split.
        probabilities: (recordings, classes).
    """

    name: str
    recordings: pd.DataFrame
    species: list[str]
    names: dict[str, str]
    split: dict[str, Any]
    probabilities: NDArray[np.float64]


COMPARED_METRICS = tuple(name for name, metric in HEADLINE_METRICS.items() if metric.compared)
"""Names of the metrics that reports can be compared by."""


def compare_reports(
    reports: Sequence[Path], config: EvaluateConfig, metrics: Sequence[str] = COMPARED_METRICS
) -> dict[str, Any]:
    """Returns how later reports differ from the first, on the recordings that all of them scored.

    All reports share the resamples of the first report's groups, such as recordists, so the differences are paired.
    Two recordings are the same if their audio is the same. A recording with different labels in two reports is left
    out. A species that one report does not know gets probability 0 in that report. No common recording is of such a
    species, but another report may predict it. A species that one report calls secondary in a recording counts in no
    report. A report whose score is too high beside the others is named with the reason (`doubts`).

    Args:
        reports: Directories of two reports or more.
        config: Number of resamples, their seed, and confidence.
        metrics: Names of the metrics, some of `COMPARED_METRICS`.

    Raises:
        FileNotFoundError: If a directory is not a report.
        ValueError: If there are fewer than two reports.
        NothingInCommonError: If the reports have no recording in common.
    """
    if len(reports) < 2:
        raise ValueError(f"A comparison takes two reports or more, but {len(reports)} was given. Name a second report.")
    predicted = [read_report_predictions(report) for report in reports]
    first = predicted[0]
    species = sorted({label for one in predicted for label in one.species})
    common = _find_common(predicted)
    index_of = {name: index for index, name in enumerate(species)}
    recordings = first.recordings.set_index("sha256").loc[common].reset_index()
    recordings = recordings.assign(
        label_index=recordings["label"].map(index_of), secondary_labels=_join_secondary(predicted, common)
    )
    scorer = build_scorer(recordings, species, config, np.random.default_rng(config.seed))
    predictions = [scorer.predictions(_align(one, common, species)) for one in predicted]
    return {
        "reports": [one.name for one in predicted],
        "recordings": len(common),
        "left_out": {one.name: len(one.recordings) - len(common) for one in predicted},
        "same_folds": all(_same_folds(first, other, common) for other in predicted[1:]),
        "doubts": {  # the recordings are the same for all
            one.name: replace(doubts, recordings=None).told
            for one, doubts in zip(predicted, find_doubts(reports), strict=True)
        },
        "confidence": config.confidence,
        "resampled": name_groups(first.split, recordings["recordist"]),
        "names": {label: name for one in predicted for label, name in one.names.items()},
        "metrics": {name: _compare_metric(HEADLINE_METRICS[name], predictions, scorer) for name in metrics},
        "species": _compare_species(predictions, scorer, species),
    }


def describe_diff(diff: Mapping[str, Any]) -> str:
    """Returns a comparison of reports as Markdown, with the species that gained and lost most."""
    species = diff["species"]
    content = {
        "diff": replace_nan(dict(diff)),
        "names": diff["names"],
        "interval": f"{100 * diff['confidence']:g} % interval",
        "metric_titles": METRIC_TITLES,
        "winners": [one for one in species if one["gain"] > 0][:_NAMED_SPECIES],
        "losers": [one for one in species[::-1] if one["gain"] < 0][:_NAMED_SPECIES],
    }
    return render("diff.md.j2", content)


def read_report_predictions(report: Path) -> ReportPredictions:
    """Returns a report's out-of-fold predictions.

    Raises:
        FileNotFoundError: If a file is missing: the directory is not a report, or an old version wrote the report.
        DamagedArtefactError: If the predictions are not what was published, or no predictions.
    """
    for name in _FILES:
        if not (report / name).is_file():
            raise FileNotFoundError(
                f"{report} has no {name}: it is not a report, or an old version wrote it. Evaluate it again."
            )
    if is_finished(report):
        check_files(report, *_FILES)
    recordings = pd.read_csv(report / "recordings.csv", dtype=str, keep_default_na=False)
    if "secondary_labels" not in recordings:  # written before secondary species were left out
        recordings["secondary_labels"] = ""
    once = ~recordings["sha256"].duplicated().to_numpy()
    content = read_report(report)
    names, split = name_species(_list_species(content)), content["lineage"]["split"]["config"]
    try:
        with np.load(report / "oof.npz", allow_pickle=False) as archive:
            probabilities, species = archive["probabilities"][once], archive["species"].tolist()
    except (BadZipFile, EOFError, KeyError, ValueError, IndexError) as error:
        raise DamagedArtefactError(f"{report}/oof.npz holds no predictions ({error}). Evaluate it again.") from error
    scored = recordings[once].reset_index(drop=True)
    return ReportPredictions(content["key"], scored, species, names, split, probabilities)


def _find_common(reports: Sequence[ReportPredictions]) -> list[str]:
    """Returns the sha256 of each recording that all reports scored under the same label."""
    first, *others = [dict(zip(one.recordings["sha256"], one.recordings["label"], strict=True)) for one in reports]
    common = [sha256 for sha256, label in first.items() if all(other.get(sha256) == label for other in others)]
    if not common:
        raise NothingInCommonError(
            f"The reports {', '.join(one.name for one in reports)} have no recording in common. "
            "Compare reports on the same recordings."
        )
    return common


def _list_species(report: Mapping[str, Any]) -> pd.DataFrame:
    """Returns label and names of the species in the content of a `report.json`."""
    columns = ("label", "common_name", "scientific_name")
    return pd.DataFrame([[one[column] for column in columns] for one in report["per_species"]], columns=columns)


def _join_secondary(reports: Sequence[ReportPredictions], common: Sequence[str]) -> list[str]:
    """Returns the secondary labels of each common recording in any of the reports, separated by spaces."""
    each = [one.recordings.set_index("sha256")["secondary_labels"].loc[list(common)] for one in reports]
    return [" ".join(labels) for labels in zip(*each, strict=True)]


def _align(report: ReportPredictions, common: Sequence[str], species: Sequence[str]) -> NDArray[np.float64]:
    """Returns probabilities of common recordings for all species, (common, species); 0 for a species not in the report.

    Args:
        report: Where the probabilities come from.
        common: sha256 of each recording.
        species: Labels, those of the report among them.
    """
    rows = pd.Index(report.recordings["sha256"]).get_indexer(pd.Index(common))
    aligned = np.zeros((len(common), len(species)))
    aligned[:, pd.Index(species).get_indexer(pd.Index(report.species))] = report.probabilities[rows]
    return aligned


def _same_folds(first: ReportPredictions, other: ReportPredictions, common: Sequence[str]) -> bool:
    """Returns whether the recordings that share a fold in one report also share a fold in the other."""
    folds = [one.recordings.set_index("sha256")["fold"].loc[list(common)].tolist() for one in (first, other)]
    return len(set(zip(*folds, strict=True))) == len(set(folds[0])) == len(set(folds[1]))


def _compare_metric(metric: HeadlineMetric, predictions: Sequence[Predictions], scorer: Scorer) -> list[dict[str, Any]]:
    """Returns a metric of each report, and the paired difference of each later report to the first."""
    values = [float(metric.function(one, scorer.labels, None)[0]) for one in predictions]
    resampled = [metric.function(one, scorer.labels, scorer.resamples) for one in predictions]
    compared: list[dict[str, Any]] = []
    for number, (value, drawn) in enumerate(zip(values, resampled, strict=True)):
        low, high = scorer.interval_of(metric)(value, drawn)
        compared.append({"value": value, "low": low, "high": high, "difference": None})
        if number:
            same = predictions[number].equal(predictions[0])
            paired = value - values[0], drawn - resampled[0]
            compared[-1]["difference"] = no_difference() if same else scorer.difference(*paired)
    return compared


def _compare_species(
    predictions: Sequence[Predictions], scorer: Scorer, species: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns the F1 of each scored species in every report, the largest gain of the last report first."""
    f1 = np.stack([score_species(one, scorer.labels).f1 for one in predictions])  # (reports, classes)
    support = np.bincount(scorer.labels, minlength=len(species))
    gain = f1[-1] - f1[0]
    order: list[int] = sorted(np.flatnonzero(support).tolist(), key=lambda index: (-gain[index], species[index]))
    return [
        {
            "label": species[index],
            "scored": int(support[index]),
            "f1": f1[:, index].tolist(),
            "gain": float(gain[index]),
        }
        for index in order
    ]
