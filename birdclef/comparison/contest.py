"""What a comparison says in numbers: the mean over seeds of each arm, and its paired difference to the reference."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.comparison.arms import REFERENCE, Trial
from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.bootstrap import percentile_interval, resample_groups
from birdclef.metrics.buckets import BUCKETS, in_bucket
from birdclef.metrics.classification import Floats, Resamples, macro_f1
from birdclef.metrics.predictions import Labels, Predictions
from birdclef.scores.ensemble import check_members, combine_out_of_fold
from birdclef.scores.lineage import trace
from birdclef.scores.prediction_files import prediction_seconds, read_out_of_fold
from birdclef.strips.fold import read_labelled_recordings
from cache.recordings.catalogue_tables import read_species
from cache.workspace.artefact import read_provenance
from cache.workspace.workspace import Workspace

OVERALL = "all"

Key = tuple[str, int, int]
"""Arm, budget and seed."""


@dataclass(frozen=True)
class Judge:
    """Scores predictions on the same recordings and resamples.

    Attributes:
        labels: True class, (recordings,).
        among: Name of each set of species to its classes, (classes,): all, and the buckets that have some.
        resamples: Of the recordings.
        seed_draws: Resamples of the seeds, (seeds, resamples).
        confidence: Coverage of the intervals.
    """

    labels: Labels
    among: Mapping[str, NDArray[np.bool_]]
    resamples: Resamples
    seed_draws: NDArray[np.int64]
    confidence: float

    def score(self, seeds: Sequence[NDArray[np.floating[Any]]]) -> "dict[str, Scores]":
        """Returns the macro-F1 over each set of species of one arm's probabilities, (recordings, classes) each."""
        scores = {}
        predictions = [Predictions(seed) for seed in seeds]
        for name, among in self.among.items():
            each = np.stack([macro_f1(seed, self.labels, None, among)[0] for seed in predictions])  # (seeds,)
            resampled = np.stack([macro_f1(seed, self.labels, self.resamples, among) for seed in predictions])
            drawn = np.take_along_axis(resampled, self.seed_draws[: len(seeds)] % len(seeds), axis=0).mean(axis=0)
            scores[name] = Scores(each, drawn)
        return scores

    def interval(self, value: float, resampled: Floats) -> dict[str, float]:
        """Returns a value with the interval of its resamples, (resamples,)."""
        low, high = percentile_interval(resampled, self.confidence)
        return {"value": value, "low": low, "high": high}


@dataclass(frozen=True)
class Scores:
    """Macro-F1 of one arm.

    Attributes:
        seeds: Of each seed, (seeds,).
        resampled: Mean over seeds drawn with replacement, on each resample of the recordings, (resamples,).
    """

    seeds: Floats
    resampled: Floats

    @property
    def value(self) -> float:
        """Mean over the seeds."""
        return float(self.seeds.mean())


def score_trials(
    config: EvaluateConfig,
    trials: Sequence[tuple[Trial, Sequence[Path]]],
    baselines: Mapping[str, Path],
    companions: Sequence[str],
    workspace: Workspace,
) -> dict[str, Any]:
    """Returns the content of `comparison.json`; see `birdclef.compare.compare`.

    The intervals draw recordists and, for each of them, seeds with replacement. Arms are paired: they share the draws.
    """
    paths = [path for _, directories in trials for path in directories]
    lineage, *_ = [trace(paths, baseline, workspace) for baseline in baselines.values()]
    out_of_fold = {trial: read_out_of_fold(directories) for trial, directories in _by_key(trials).items()}
    check_members({f"{arm}, {epochs} epochs, seed {seed}": each for (arm, epochs, seed), each in out_of_fold.items()})
    scored_ids = next(iter(out_of_fold.values())).recordings["recording_id"]
    catalogue = read_labelled_recordings(lineage.split, lineage.catalogue)
    recordings = catalogue.set_index("recording_id").loc[scored_ids].reset_index()
    counts = read_species(lineage.catalogue)["recordings"].to_numpy()
    seeds = len({trial.seed for trial, _ in trials})
    judge = build_judge(recordings, counts, seeds, config)
    means: dict[Key, NDArray[np.floating[Any]]] = {key: predictions.mean for key, predictions in out_of_fold.items()}
    runs = {key: _describe_runs(directories, workspace) for key, directories in _by_key(trials).items()}
    labels, folds = recordings["label_index"].to_numpy(), recordings["fold"].to_numpy(np.int64)
    for fused, parts in _fuse(list(means), companions).items():
        means[fused] = combine_out_of_fold([means[part] for part in parts], config.ensemble, labels, folds)
        runs[fused] = [run for part in parts for run in runs[part]]
    budgets = sorted({trial.epochs for trial, _ in trials})
    arms = list(dict.fromkeys(arm for arm, _, _ in means))
    entries = []
    every: dict[tuple[str, int], Mapping[str, Scores]] = {}
    for epochs in budgets:
        scores = {arm: judge.score([mean for key, mean in means.items() if key[:2] == (arm, epochs)]) for arm in arms}
        every |= {(arm, epochs): scores[arm] for arm in arms}
        for arm in arms:
            cost = _add_up([runs[key] for key in runs if key[:2] == (arm, epochs)])
            entries.append({"name": arm, "epochs": epochs, **_as_entry(judge, scores[arm], scores[REFERENCE]), **cost})
    return {
        "reference": REFERENCE,
        "confidence": config.confidence,
        "seeds": seeds,
        "budgets": budgets,
        "recordings": len(recordings),
        "species": int(recordings["label"].nunique()),
        "arms": entries,
        "baselines": [
            _as_baseline(judge, name, judge.score([read_out_of_fold([path]).of(scored_ids)]), every)
            for name, path in baselines.items()
        ],
        "settings": {trial.arm: trial.config.identity() for trial, _ in trials if trial.epochs == budgets[-1]},
    }


def build_judge(recordings: pd.DataFrame, counts: NDArray[np.int64], seeds: int, config: EvaluateConfig) -> Judge:
    """Returns a judge of predictions for some recordings.

    Args:
        recordings: label_index and group of those that are scored.
        counts: Recordings of each species, (classes,).
        seeds: How many seeds an arm has.
        config: Resamples, their seed and confidence.
    """
    generator = np.random.default_rng(config.seed)
    labels = recordings["label_index"].to_numpy()
    groups = pd.factorize(recordings["group"])[0].astype(np.int64)
    resamples = resample_groups(groups, config.bootstrap_samples, generator)
    among = {OVERALL: np.ones(len(counts), bool)}
    for name, fewest, most in BUCKETS:
        inside = in_bucket(counts, fewest, most)
        if inside[labels].any():
            among[name] = inside
    draws = generator.integers(seeds, size=(seeds, config.bootstrap_samples))
    return Judge(labels, among, resamples, draws, config.confidence)


def _fuse(keys: Sequence[Key], companions: Sequence[str]) -> dict[Key, list[Key]]:
    """Returns the ensembles of every arm with all companions of the same seed, by name the members of each."""
    if not companions:
        return {}
    return {
        (" + ".join([arm, *companions]), epochs, seed): [(member, epochs, seed) for member in (arm, *companions)]
        for arm, epochs, seed in keys
        if arm not in companions
    }


def _by_key(trials: Sequence[tuple[Trial, Sequence[Path]]]) -> dict[Key, Sequence[Path]]:
    return {(trial.arm, trial.epochs, trial.seed): directories for trial, directories in trials}


def _as_entry(
    judge: Judge, scores: Mapping[str, Scores], reference: Mapping[str, Scores] | None = None
) -> dict[str, Any]:
    def describe(name: str) -> dict[str, Any]:
        own = scores[name]
        described: dict[str, Any] = {"macro_f1": judge.interval(own.value, own.resampled)}
        if reference is not None:
            other = reference[name]
            described["difference"] = judge.interval(own.value - other.value, own.resampled - other.resampled)
        return described

    seeds = scores[OVERALL].seeds
    return {
        **describe(OVERALL),
        "by_seed": seeds.tolist(),
        "seed_deviation": float(seeds.std(ddof=1)) if len(seeds) > 1 else 0.0,
        "buckets": [{"bucket": name, **describe(name)} for name in scores if name != OVERALL],
    }


def _as_baseline(
    judge: Judge,
    name: str,
    scores: Mapping[str, Scores],
    arms: Mapping[tuple[str, int], Mapping[str, Scores]],
) -> dict[str, Any]:
    """Returns a baseline's scores, and how far the best arm is ahead of it."""
    arm, epochs = max(arms, key=lambda key: arms[key][OVERALL].value)
    best, own = arms[arm, epochs][OVERALL], scores[OVERALL]
    difference = judge.interval(best.value - own.value, best.resampled - own.resampled)
    return {
        "name": name,
        **_as_entry(judge, scores),
        "best_arm": {"name": arm, "epochs": epochs, "difference": difference},
    }


def _describe_runs(predictions: Sequence[Path], workspace: Workspace) -> list[dict[str, Any]]:
    """Returns views that passed through the model, seconds and peak memory of each fold's run, and of its use."""
    described = []
    for path in predictions:
        run = workspace.artefact("runs", read_provenance(path)["inputs"]["run"])
        summary = json.loads((run / "summary.json").read_text())
        views = pd.read_csv(run / "logs" / "metrics.csv")["views"].sum()
        costs = {name: summary[name] for name in ("seconds", "peak_memory_mb")}
        described.append({"views": int(views), "prediction_seconds": prediction_seconds(path), **costs})
    return described


def _add_up(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Returns the cost of one seed over all folds, on average; the largest peak of all."""
    runs = [run for folds in seeds for run in folds]
    peaks = [run["peak_memory_mb"] for run in runs if run["peak_memory_mb"] is not None]
    return {
        "views": round(sum(run["views"] for run in runs) / len(seeds)),
        "training_seconds": round(sum(run["seconds"] for run in runs) / len(seeds), 1),
        "prediction_seconds": round(sum(run["prediction_seconds"] for run in runs) / len(seeds), 2),
        "peak_memory_mb": max(peaks, default=None),
    }
