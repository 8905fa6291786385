"""Computes all numbers of a report from out-of-fold predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.buckets import BUCKETS, in_bucket
from birdclef.metrics.calibration import (
    calibrate,
    cross_fit_calibration,
    describe_calibration,
    find_edge,
    fit_temperature,
)
from birdclef.metrics.classification import (
    Floats,
    confusion_matrix,
    macro_f1,
    score_species,
    score_species_by_thresholds,
)
from birdclef.metrics.predictions import Labels, Predictions
from birdclef.metrics.ranking import average_precision, roc_auc
from birdclef.metrics.secondary_species import IgnoredPairs, mark_secondary
from birdclef.metrics.thresholds import fit_thresholds
from birdclef.scores.coverage import (
    describe_coverage,
    describe_duplicates,
    describe_overlap,
    describe_quarantine,
    describe_split,
)
from birdclef.scores.ensemble import check_members, combine_out_of_fold
from birdclef.scores.lineage import Lineage, describe, trace
from birdclef.scores.member_scores import describe_ensemble, score_each_member
from birdclef.scores.own_labels import describe_own_labels
from birdclef.scores.prediction_files import read_out_of_fold
from birdclef.scores.scorer import Scorer, build_scorer, shuffle_recordings
from birdclef.scores.training_verdict import judge_training
from birdclef.strips.fold import read_labelled_recordings
from cache.recordings.catalogue_tables import read_species
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

_CONFUSIONS = 20
"""Number of confusions that a report lists, the most frequent ones first."""


@dataclass(frozen=True)
class Scored:
    """Numbers of a report, and the tables and arrays that they were computed from.

    Attributes:
        report: Content of `report.json`, without format, key and command.
        catalogue: Usable recordings: recording_id, label, label_index, recordist, sha256, fold, group, ...
        recordings: Scored recordings, with the same columns.
        species: Species in the order of label_index.
        probabilities: Probabilities of the ensemble, (recordings, classes).
        calibrated: Probabilities at the temperature fitted on the other folds, (recordings, classes).
        ignored: Pairs of recording and secondary species, which count neither as right nor as wrong.
        lineage: Artefacts behind the predictions.
        members: Run directories by name of the member.
        predictions: Prediction directories by name of the member.
    """

    report: dict[str, Any]
    catalogue: pd.DataFrame
    recordings: pd.DataFrame
    species: pd.DataFrame
    probabilities: Floats
    calibrated: Floats
    ignored: IgnoredPairs
    lineage: Lineage
    members: dict[str, list[Path]]
    predictions: dict[str, list[Path]]


def score_members(
    config: EvaluateConfig,
    members: Mapping[str, Sequence[Path]],
    baseline: Path,
    workspace: Workspace,
    zero_shot: Path | None = None,
) -> Scored:
    """Returns the numbers of a report.

    Args:
        config: How members are combined, and how intervals are computed.
        members: Name of each member to its prediction directories, one per fold.
        baseline: Predictions of the baseline on the same split.
        workspace: Where artefacts lie.
        zero_shot: Predictions by an embedding model's own labels; None: the features have no such model.

    Raises:
        ValueError: If the members cover different recordings or species, or come from different splits.
    """
    paths = [path for directories in members.values() for path in directories]
    lineage = trace(paths, baseline, workspace)
    out_of_fold = {name: read_out_of_fold(directories) for name, directories in members.items()}
    check_members(out_of_fold)
    species = read_species(lineage.catalogue)
    catalogue = read_labelled_recordings(lineage.split, lineage.catalogue)
    scored_ids = next(iter(out_of_fold.values())).recordings["recording_id"]
    recordings = catalogue.set_index("recording_id").loc[scored_ids].reset_index()
    generator = np.random.default_rng(config.seed)
    scorer = build_scorer(recordings, species["label"].tolist(), config, generator)
    permutations = shuffle_recordings(len(recordings), config.permutations, generator)
    means = [member.mean for member in out_of_fold.values()]
    ignored = mark_secondary(recordings, species["label"].tolist())
    combined = combine_out_of_fold(means, config.ensemble, scorer.labels, scorer.folds, ignored)
    calibrated, temperatures = cross_fit_calibration(combined, scorer.labels, scorer.folds, ignored)
    temperature = fit_temperature(combined, scorer.labels, ignored)
    thresholds = fit_thresholds(calibrate(combined, temperature), scorer.labels, ignored)
    predictions = scorer.decide(combined)
    directories = {name: list(own) for name, own in members.items()}
    runs = {name: [_find_run(path, workspace) for path in own] for name, own in directories.items()}
    classifier = str(read_provenance(baseline)["config"]["baseline"])
    report = {
        "metrics": scorer.estimates(predictions, permutations),
        "confidence": config.confidence,
        "baseline": {
            "name": f"{classifier}, same folds",
            **_describe_baseline(baseline, recordings, predictions, scorer, permutations),
        },
        "zero_shot": describe_own_labels(zero_shot, recordings, predictions, scorer) if zero_shot else None,
        "coverage": describe_coverage(catalogue, recordings, species, lineage) | {"pairs_ignored": ignored.nnz},
        "overlap": describe_overlap(catalogue, recordings, lineage),
        "buckets": _score_buckets(predictions, recordings, species, scorer),
        "per_species": _score_each_species(predictions, scorer.labels, species, thresholds),
        "confusions": _list_confusions(predictions, scorer.labels, species),
        "calibration": {
            "temperature": temperature,
            "temperature_edge": find_edge(temperature),
            "temperature_per_fold": {str(fold): value for fold, value in temperatures.items()},
            "before": describe_calibration(combined, scorer.labels, ignored),
            "after": None
            if None in temperatures.values()
            else describe_calibration(calibrated, scorer.labels, ignored),
        },
        "ensemble": describe_ensemble(config.ensemble, out_of_fold, scorer),
        "members": score_each_member(out_of_fold, runs, predictions, config.ensemble, scorer, permutations),
        **_describe_data(lineage),
        "lineage": describe(lineage, paths, workspace),
    }
    report = {"verdict": judge_training(report, classifier), **report}
    return Scored(report, catalogue, recordings, species, combined, calibrated, ignored, lineage, runs, directories)


def _find_run(predictions: Path, workspace: Workspace) -> Path:
    return workspace.artefact("runs", read_provenance(predictions)["inputs"]["run"])


def _describe_baseline(
    baseline: Path,
    recordings: pd.DataFrame,
    predictions: Predictions,
    scorer: Scorer,
    permutations: NDArray[np.int64],
) -> dict[str, Any]:
    """Returns the baseline's metrics, and the paired difference of the ensemble to the baseline."""
    own = read_out_of_fold([baseline]).of(recordings["recording_id"])
    return {
        "metrics": scorer.estimates(scorer.decide(own), permutations),
        "difference_macro_f1": scorer.macro_f1_difference(predictions, scorer.predictions(own)),
    }


def _describe_data(lineage: Lineage) -> dict[str, Any]:
    return {
        "quarantine": describe_quarantine(lineage.catalogue),
        "duplicates": describe_duplicates(lineage.catalogue),
        "split": describe_split(lineage.split),
    }


def _score_buckets(
    predictions: Predictions, recordings: pd.DataFrame, species: pd.DataFrame, scorer: Scorer
) -> list[dict[str, Any]]:
    """Returns macro-F1 over the species of each bucket; confusions with species of other buckets count as errors."""
    counts = species["recordings"].to_numpy()
    buckets = []
    for name, fewest, most in BUCKETS:
        inside = in_bucket(counts, fewest, most)
        chosen = inside[recordings["label_index"]]
        entry: dict[str, Any] = {
            "bucket": name,
            "species": int(inside.sum()),
            "species_scored": int(recordings.loc[chosen, "label"].nunique()),
            "recordings_scored": int(chosen.sum()),
        }
        if chosen.any():
            value = float(macro_f1(predictions, scorer.labels, None, inside)[0])
            resampled = macro_f1(predictions, scorer.labels, scorer.resamples, inside)
            interval = scorer.interval(value, resampled, len(np.unique(scorer.resamples.groups[chosen])) - 1)
            entry |= {"macro_f1": value, "low": interval["low"], "high": interval["high"]}
        buckets.append(entry)
    return buckets


def _score_each_species(
    predictions: Predictions, labels: Labels, species: pd.DataFrame, thresholds: Floats
) -> list[dict[str, Any]]:
    scores = score_species(predictions, labels)
    undecided = predictions.decisions is None
    columns = {
        "scored": scores.support,
        "precision": scores.precision,
        "recall": scores.recall,
        "f1": scores.f1,
        "roc_auc": roc_auc(predictions, labels)[:, 0],
        "average_precision": average_precision(predictions, labels)[:, 0],
        "f1_by_threshold": np.nan if undecided else score_species_by_thresholds(predictions, labels).f1,
        "threshold": thresholds,
    }
    return _as_records(species.assign(**columns))


def _list_confusions(predictions: Predictions, labels: Labels, species: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the most frequent confusions: label, predicted, recordings, and share of the species' recordings."""
    matrix = confusion_matrix(predictions, labels)
    support = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    confused = np.argwhere(matrix)
    names = species["label"].to_numpy()
    confusions = pd.DataFrame(
        {
            "label": names[confused[:, 0]],
            "predicted": names[confused[:, 1]],
            "recordings": matrix[confused[:, 0], confused[:, 1]],
            "share": matrix[confused[:, 0], confused[:, 1]] / support[confused[:, 0]],
        }
    )
    ordered = confusions.sort_values(["recordings", "share", "label"], ascending=[False, False, True])
    return _as_records(ordered.head(_CONFUSIONS))


def _as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", table.to_dict(orient="records"))
