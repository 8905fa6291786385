"""Scores a report's classifier on the recordings that its split held out, with everything fitted elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.calibration import calibrate, describe_calibration, fit_temperature
from birdclef.metrics.classification import Floats, score_species
from birdclef.metrics.predictions import Predictions
from birdclef.metrics.secondary_species import mark_secondary
from birdclef.metrics.thresholds import fit_thresholds
from birdclef.scores.ensemble import check_members, combine_members
from birdclef.scores.lineage import trace
from birdclef.scores.member_probabilities import average_probabilities
from birdclef.scores.prediction_files import OutOfFold, read_out_of_fold
from birdclef.scores.report_file import read_report
from birdclef.scores.scorer import Scorer, build_scorer, shuffle_recordings
from birdclef.strips.fold import read_labelled_recordings
from cache.folds.groups import is_held_out, is_validated, share_known_to_training
from cache.folds.overlap import name_groups
from cache.recordings.catalogue_tables import read_species
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace


@dataclass(frozen=True)
class HeldOutScore:
    """Score of a report on its held-out part.

    Attributes:
        score: Content of `held_out.json`, without format and key.
        recordings: recording_id, sha256, label, secondary_labels, recordist, group, predicted and confidence.
    """

    score: dict[str, Any]
    recordings: pd.DataFrame


def score_held_out(
    report: Path, members: Mapping[str, Sequence[Path]], baseline: Path, workspace: Workspace
) -> HeldOutScore:
    """Returns the score of a report on its held-out part.

    Weights of members, temperature and thresholds are the report's own, and the models of all trained folds are
    averaged: the classifier is the one that predicts new recordings. The baseline averages the models of the same
    folds; its temperature and thresholds are fitted on its out-of-fold predictions of these folds.

    Args:
        report: Directory of the report.
        members: Name of each member to its predictions of the held-out part, one directory per fold.
        baseline: The baseline's predictions of the held-out part, by the folds of the members.
        workspace: Where artefacts lie.

    Raises:
        ValueError: If the members cover different recordings or species.
    """
    stated = read_report(report)
    made = read_provenance(report)
    config = EvaluateConfig(**made["config"])
    lineage = trace([path for paths in members.values() for path in paths], baseline, workspace)
    species = read_species(lineage.catalogue)["label"].tolist()
    catalogue = read_labelled_recordings(lineage.split, lineage.catalogue)
    read = {name: [read_out_of_fold([path]) for path in paths] for name, paths in members.items()}
    check_members({f"{name}/{index}": each for name, models in read.items() for index, each in enumerate(models)})
    recordings = catalogue[is_held_out(catalogue["fold"])].reset_index(drop=True)
    generator = np.random.default_rng(config.seed)
    scorer = build_scorer(recordings, species, config, generator)
    permutations = shuffle_recordings(len(recordings), config.permutations, generator)
    weights = np.array([stated["ensemble"]["weights"][name] for name in read])
    combined = combine_members([_average(models) for models in read.values()], stated["ensemble"]["method"], weights)
    calibrated = calibrate(combined, stated["calibration"]["temperature"])
    thresholds = np.array([one["threshold"] for one in stated["per_species"]])
    predictions = Predictions(combined, calibrated >= thresholds, scorer.ignored)
    fitted_on = workspace.artefact("predictions", made["inputs"]["baseline"])
    folds = sorted({int(read_provenance(run)["config"]["fold"]) for run in lineage.runs})
    own = _decide_elsewhere(fitted_on, baseline, catalogue[catalogue["fold"].isin(folds)], species, scorer)
    score = {
        "report": stated["key"],
        "recordings": len(recordings),
        "species": int(recordings["label"].nunique()),
        "pairs_ignored": 0 if scorer.ignored is None else int(scorer.ignored.nnz),
        "known_share": share_known_to_training(catalogue, catalogue["fold"].to_numpy(np.int64)),
        "resampled": name_groups(read_provenance(lineage.split)["config"], recordings["recordist"]),
        "models": sum(map(len, members.values())),
        "folds": folds,
        "folds_of_split": int(catalogue.loc[is_validated(catalogue["fold"]), "fold"].nunique()),
        "confidence": config.confidence,
        "metrics": scorer.estimates(predictions, permutations),
        "out_of_fold": stated["metrics"],
        "same_species": _compare_same_species(predictions, scorer, stated["per_species"]),
        "baseline": {
            "name": stated["baseline"]["name"],
            "metrics": scorer.estimates(own, permutations),
            "difference_macro_f1": scorer.macro_f1_difference(predictions, own),
            "out_of_fold": stated["baseline"]["metrics"],
        },
        "calibration": {
            "temperature": stated["calibration"]["temperature"],
            "before": describe_calibration(combined, scorer.labels, scorer.ignored),
            "after": describe_calibration(calibrated, scorer.labels, scorer.ignored),
        },
    }
    return HeldOutScore(score, _list_recordings(recordings, predictions, calibrated, species))


def _average(models: Sequence[OutOfFold]) -> Floats:
    return average_probabilities(
        [each.probabilities for each in models], models[0].views["weight"].to_numpy(np.float64)
    )


def _decide_elsewhere(
    fitted_on: Path, baseline: Path, validated: pd.DataFrame, species: list[str], scorer: Scorer
) -> Predictions:
    """Returns the baseline's predictions of the held-out part, with decisions that are fitted out of fold.

    Args:
        fitted_on: The baseline's out-of-fold predictions.
        baseline: Its predictions of the held-out part.
        validated: Recordings of the folds that the decisions are fitted on.
        species: Labels of the classes.
        scorer: Scorer of the held-out part.
    """
    known = read_out_of_fold([fitted_on]).of(validated["recording_id"])
    labels, ignored = validated["label_index"].to_numpy(np.int64), mark_secondary(validated, species)
    temperature = fit_temperature(known, labels, ignored)
    thresholds = fit_thresholds(calibrate(known, temperature), labels, ignored)
    probabilities = read_out_of_fold([baseline]).mean
    return Predictions(probabilities, calibrate(probabilities, temperature) >= thresholds, scorer.ignored)


def _compare_same_species(
    predictions: Predictions, scorer: Scorer, per_species: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns macro-F1 held out and out of fold over the species that both score; NaN if there is none."""
    held_out = score_species(predictions, scorer.labels).f1
    out_of_fold = np.array([np.nan if one["f1"] is None else one["f1"] for one in per_species])
    both = ~np.isnan(held_out) & ~np.isnan(out_of_fold)
    means = [float(each[both].mean()) if both.any() else float("nan") for each in (held_out, out_of_fold)]
    return {"species": int(both.sum()), "held_out": means[0], "out_of_fold": means[1]}


def _list_recordings(
    recordings: pd.DataFrame, predictions: Predictions, calibrated: NDArray[np.float64], species: list[str]
) -> pd.DataFrame:
    columns = ["recording_id", "sha256", "label", "secondary_labels", "recordist", "group"]
    confidence = Predictions(calibrated, None, predictions.ignored).confidence
    return recordings[columns].assign(predicted=np.array(species)[predictions.chosen], confidence=confidence.round(4))
