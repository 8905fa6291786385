"""Reports held against each other on the recordings that all of them scored."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.classification import score_species
from birdclef.metrics.predictions import Predictions
from birdclef.report.metric_names import METRIC_NAMES
from birdclef.report.rendering import render
from birdclef.scores.scorer import HEADLINE_METRICS, Scorer, build_scorer

COMPARED = ("macro_f1", "accuracy", "top_3_accuracy", "macro_roc_auc", "padded_cmap", "expected_calibration_error")
"""Headline metrics that are compared: those that need nothing but probabilities."""

_NAMED_SPECIES = 10


class NothingInCommonError(ValueError):
    """Reports scored no recording that could be compared."""


@dataclass(frozen=True)
class Scores:
    """Out-of-fold predictions of a report.

    Attributes:
        name: Key of the report.
        recordings: recording_id, sha256, label, fold, group.
        species: Species codes in the order of the columns.
        probabilities: (recordings, classes).
    """

    name: str
    recordings: pd.DataFrame
    species: list[str]
    probabilities: NDArray[np.float64]


def compare_reports(reports: Sequence[Path], config: EvaluateConfig) -> dict[str, Any]:
    """Returns how later reports differ from the first, on the recordings that all of them scored.

    Differences are paired: all reports share the resamples of the recordists. Recordings are the same if their audio
    is; a recording whose label differs is left out. A species that a report does not know has probability 0 in it: it
    is that of no common recording, but other reports may take some for it.

    Args:
        reports: Directories of two reports or more.
        config: Resamples, their seed, and confidence.

    Raises:
        FileNotFoundError: If one is no report.
        ValueError: If there are fewer than two.
        NothingInCommonError: If they have no recording in common.
    """
    if len(reports) < 2:
        raise ValueError(f"A comparison takes two reports or more, not {len(reports)}.")
    scores = [read_scores(report) for report in reports]
    first = scores[0]
    species = sorted({label for one in scores for label in one.species})
    common = _find_common(scores)
    aligned = [_align(one, common, species) for one in scores]
    index_of = {name: index for index, name in enumerate(species)}
    recordings = first.recordings.set_index("sha256").loc[common].reset_index()
    scorer = build_scorer(recordings.assign(label_index=recordings["label"].map(index_of)), config)
    predictions = [Predictions(probabilities) for probabilities in aligned]
    return {
        "reports": [one.name for one in scores],
        "recordings": len(common),
        "left_out": {one.name: len(one.recordings) - len(common) for one in scores},
        "same_folds": all(_same_folds(first, other, common) for other in scores[1:]),
        "confidence": config.confidence,
        "metrics": {name: _compare_metric(name, predictions, scorer) for name in COMPARED},
        "species": _compare_species(predictions, scorer, species),
    }


def describe_diff(diff: Mapping[str, Any]) -> str:
    """Returns a comparison as Markdown, with the species that gained and lost most."""
    species = diff["species"]
    content = {
        "diff": diff,
        "interval": f"{100 * diff['confidence']:g} % interval",
        "metric_names": METRIC_NAMES,
        "winners": [one for one in species if one["gain"] > 0][:_NAMED_SPECIES],
        "losers": [one for one in species[::-1] if one["gain"] < 0][:_NAMED_SPECIES],
    }
    return render("diff.md.j2", content)


def read_scores(report: Path) -> Scores:
    """Returns a report's out-of-fold predictions.

    Raises:
        FileNotFoundError: If it is no report, or one that was made before recordings were listed with their audio.
    """
    for name in ("report.json", "oof.npz", "recordings.csv"):
        if not (report / name).is_file():
            raise FileNotFoundError(f"{report} is no report, or an old one: it holds no {name}. Evaluate it again.")
    recordings = pd.read_csv(report / "recordings.csv", dtype=str, keep_default_na=False)
    once = ~recordings["sha256"].duplicated().to_numpy()
    with np.load(report / "oof.npz", allow_pickle=False) as archive:
        key = json.loads((report / "report.json").read_text())["key"]
        probabilities = archive["probabilities"][once]
        return Scores(key, recordings[once].reset_index(drop=True), archive["species"].tolist(), probabilities)


def _find_common(scores: Sequence[Scores]) -> list[str]:
    """Returns the digests of the recordings that all reports scored under one label."""
    labelled = [dict(zip(one.recordings["sha256"], one.recordings["label"], strict=True)) for one in scores]
    common = [
        sha256 for sha256, label in labelled[0].items() if all(other.get(sha256) == label for other in labelled[1:])
    ]
    if not common:
        raise NothingInCommonError(f"{', '.join(one.name for one in scores)} have no recording in common.")
    return common


def _align(scores: Scores, common: Sequence[str], species: Sequence[str]) -> NDArray[np.float64]:
    """Returns probabilities of some recordings for some species, 0 for those that are not known, (common, species)."""
    rows = pd.Index(scores.recordings["sha256"]).get_indexer(pd.Index(common))
    aligned = np.zeros((len(common), len(species)))
    aligned[:, pd.Index(species).get_indexer(pd.Index(scores.species))] = scores.probabilities[rows]
    return aligned


def _same_folds(first: Scores, other: Scores, common: Sequence[str]) -> bool:
    """Whether recordings that share a fold in one report do so in the other."""
    folds = [one.recordings.set_index("sha256")["fold"].loc[list(common)].tolist() for one in (first, other)]
    return len(set(zip(*folds, strict=True))) == len(set(folds[0])) == len(set(folds[1]))


def _compare_metric(name: str, predictions: Sequence[Predictions], scorer: Scorer) -> list[dict[str, Any]]:
    """Returns a metric of each report, and its paired difference to the first."""
    metric = HEADLINE_METRICS[name]
    values = [float(metric(one, scorer.labels, None)[0]) for one in predictions]
    resampled = [metric(one, scorer.labels, scorer.resamples) for one in predictions]
    return [
        {
            **scorer.interval(value, drawn),
            "difference": scorer.interval(value - values[0], drawn - resampled[0]) if number else None,
        }
        for number, (value, drawn) in enumerate(zip(values, resampled, strict=True))
    ]


def _compare_species(
    predictions: Sequence[Predictions], scorer: Scorer, species: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns F1 of each supported species in each report, the largest gain of the last report first."""
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
