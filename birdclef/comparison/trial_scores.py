"""Scores the trials of a comparison: each arm's mean over seeds, and its paired difference to the reference."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.comparison.arms import REFERENCE, Trial
from birdclef.comparison.seed_scorer import OVERALL, ArmValues, SeedScorer, SeedValues, build_seed_scorer
from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.intervals import joint_confidence
from birdclef.scores.ensemble import check_members, combine_out_of_fold
from birdclef.scores.lineage import trace
from birdclef.scores.prediction_files import prediction_seconds, read_out_of_fold
from birdclef.scores.scorer import Scorer, no_difference
from birdclef.strips.fold import read_labelled_recordings
from cache.folds.overlap import name_groups
from cache.recordings.catalogue_tables import read_species
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

TrialPredictions = Sequence[tuple[Trial, Sequence[Path]]]
"""Trials, each with its prediction directories, one per fold."""

Key = tuple[str, int, int]
"""Arm, budget in epochs, and seed of a trial."""


def score_trials(
    config: EvaluateConfig,
    trials: TrialPredictions,
    baselines: Mapping[str, Path],
    companions: Sequence[str],
    workspace: Workspace,
) -> dict[str, Any]:
    """Returns the content of `comparison.json`; the arguments are those of `birdclef.compare.compare`.

    Each resample draws groups of recordings, such as recordists, and seeds with replacement. All arms share the draws,
    so their differences are paired. On each set of species all differences to the reference hold together, and so do
    those to a baseline.
    """
    paths = [path for _, directories in trials for path in directories]
    lineage, *_ = [trace(paths, baseline, workspace) for baseline in baselines.values()]
    out_of_fold = {_key(trial): read_out_of_fold(directories) for trial, directories in trials}
    check_members({f"{arm}, epochs={epochs}, seed {seed}": each for (arm, epochs, seed), each in out_of_fold.items()})
    scored_ids = next(iter(out_of_fold.values())).recordings["recording_id"]
    catalogue = read_labelled_recordings(lineage.split, lineage.catalogue)
    recordings = catalogue.set_index("recording_id").loc[scored_ids].reset_index()
    seeds = len({trial.seed for trial, _ in trials})
    seed_scorer = build_seed_scorer(recordings, read_species(lineage.catalogue), seeds, config)
    scorer = seed_scorer.scorer
    means: dict[Key, NDArray[np.floating[Any]]] = {key: predictions.mean for key, predictions in out_of_fold.items()}
    runs = {_key(trial): _describe_runs(directories, workspace) for trial, directories in trials}
    for fused, parts in _fuse(list(means), companions).items():
        together = [means[part] for part in parts]
        means[fused] = combine_out_of_fold(together, config.ensemble, scorer.labels, scorer.folds, scorer.ignored)
        runs[fused] = [run for part in parts for run in runs[part]]
    budgets = sorted({trial.epochs for trial, _ in trials})
    values = _score_arms(means, budgets, seed_scorer)
    references = {arm: values[REFERENCE, arm[1]] for arm in values}
    confidences = {name: _find_confidence(values, references, name, scorer) for name in seed_scorer.species_sets}
    return {
        "reference": REFERENCE,
        "confidence": config.confidence,
        "differences": sum(arm != REFERENCE for arm, _ in values),
        "difference_confidence": confidences,
        "seeds": seeds,
        "resampled": name_groups(read_provenance(lineage.split)["config"], recordings["recordist"]),
        "budgets": budgets,
        "recordings": len(recordings),
        "species": int(recordings["label"].nunique()),
        "arms": [_describe_arm(arm, values, runs, scorer, confidences) for arm in values],
        "baselines": [
            _describe_baseline(name, seed_scorer.score([read_out_of_fold([path]).of(scored_ids)]), values, scorer)
            for name, path in baselines.items()
        ],
        "settings": {trial.arm: trial.config.identity() for trial, _ in trials if trial.epochs == budgets[-1]},
    }


def _key(trial: Trial) -> Key:
    return trial.arm, trial.epochs, trial.seed


def _fuse(keys: Sequence[Key], companions: Sequence[str]) -> dict[Key, list[Key]]:
    """Returns the key of each ensemble to the keys of its members: one arm and all companions of the same seed."""
    if not companions:
        return {}
    return {
        (" + ".join([arm, *companions]), epochs, seed): [(member, epochs, seed) for member in (arm, *companions)]
        for arm, epochs, seed in keys
        if arm not in companions
    }


def _score_arms(
    means: Mapping[Key, NDArray[np.floating[Any]]], budgets: Sequence[int], seed_scorer: SeedScorer
) -> dict[tuple[str, int], ArmValues]:
    """Returns the values of each arm and budget, budget by budget."""
    arms = list(dict.fromkeys(arm for arm, _, _ in means))
    return {
        (arm, epochs): seed_scorer.score([mean for key, mean in means.items() if key[:2] == (arm, epochs)])
        for epochs in budgets
        for arm in arms
    }


def _find_confidence(
    values: Mapping[tuple[str, int], ArmValues],
    references: Mapping[tuple[str, int], ArmValues],
    species_set: str,
    scorer: Scorer,
) -> float:
    """Returns the coverage of single differences for which all differences hold together on a set of species.

    Args:
        values: Values of each arm and budget.
        references: What each arm and budget is compared with.
        species_set: Name of the set.
        scorer: Scorer of the recordings.
    """
    differences = [values[arm][species_set].minus(references[arm][species_set]).resampled for arm in values]
    return joint_confidence(np.stack(differences), scorer.confidence, np.random.default_rng(0))


def _describe_arm(
    arm: tuple[str, int],
    values: Mapping[tuple[str, int], ArmValues],
    runs: Mapping[Key, Sequence[Mapping[str, Any]]],
    scorer: Scorer,
    confidences: Mapping[str, float],
) -> dict[str, Any]:
    """Returns an arm's values, its differences to the reference at the same budget, and its cost."""
    name, epochs = arm
    cost = _average_cost([runs[key] for key in runs if key[:2] == arm])
    described = _describe_values(values[arm], scorer)
    for entry in (described, *described["buckets"]):
        species_set = entry.get("bucket", OVERALL)
        difference = values[arm][species_set].minus(values[REFERENCE, epochs][species_set])
        entry["difference"] = (
            no_difference() if name == REFERENCE else _describe_difference(difference, scorer, confidences[species_set])
        )
    return {"name": name, "epochs": epochs, **described, **cost}


def _describe_difference(difference: SeedValues, scorer: Scorer, confidence: float) -> dict[str, float]:
    return scorer.difference(difference.value, difference.resampled, difference.freedom, confidence)


def _describe_values(values: ArmValues, scorer: Scorer) -> dict[str, Any]:
    def describe(name: str) -> dict[str, Any]:
        own = values[name]
        return {"macro_f1": scorer.interval(own.value, own.resampled, own.freedom)}

    seeds = values[OVERALL].seeds
    return {
        **describe(OVERALL),
        "by_seed": seeds.tolist(),
        "seed_deviation": float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
        "buckets": [{"bucket": name, **describe(name)} for name in values if name != OVERALL],
    }


def _describe_baseline(
    name: str, values: ArmValues, arms: Mapping[tuple[str, int], ArmValues], scorer: Scorer
) -> dict[str, Any]:
    """Returns a baseline's values, and the difference of the best arm to the baseline.

    The interval is one of all arms' intervals that hold together, because the best arm is chosen by its score.
    """
    arm, epochs = max(arms, key=lambda key: arms[key][OVERALL].value)
    difference = arms[arm, epochs][OVERALL].minus(values[OVERALL])
    confidence = _find_confidence(arms, dict.fromkeys(arms, values), OVERALL, scorer)
    return {
        "name": name,
        **_describe_values(values, scorer),
        "best_arm": {
            "name": arm,
            "epochs": epochs,
            "difference": _describe_difference(difference, scorer, confidence),
        },
    }


def _describe_runs(predictions: Sequence[Path], workspace: Workspace) -> list[dict[str, Any]]:
    """Returns for each fold the views in training, the seconds of training and prediction, and the peak memory."""
    described = []
    for path in predictions:
        run = workspace.artefact("runs", read_provenance(path)["inputs"]["run"])
        summary = json.loads((run / "summary.json").read_text())
        views = pd.read_csv(run / "logs" / "metrics.csv")["views"].sum()
        costs = {name: summary[name] for name in ("seconds", "peak_memory_mb")}
        described.append({"views": int(views), "prediction_seconds": prediction_seconds(path), **costs})
    return described


def _average_cost(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Returns the mean cost of a seed, summed over its folds; the memory is the largest peak of all runs."""
    runs = [run for folds in seeds for run in folds]
    peaks = [run["peak_memory_mb"] for run in runs if run["peak_memory_mb"] is not None]
    return {
        "views": round(sum(run["views"] for run in runs) / len(seeds)),
        "training_seconds": round(sum(run["seconds"] for run in runs) / len(seeds), 1),
        "prediction_seconds": round(sum(run["prediction_seconds"] for run in runs) / len(seeds), 2),
        "peak_memory_mb": max(peaks, default=None),
    }
