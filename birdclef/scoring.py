"""Everything a report says in numbers, from out-of-fold predictions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.bootstrap import Estimate, Metric, estimate, percentile_interval, resample_groups
from birdclef.buckets import BUCKETS, in_bucket
from birdclef.config import EvaluateConfig
from birdclef.coverage import describe_coverage, describe_duplicates, describe_quarantine, describe_split
from birdclef.ensemble import OutOfFold, check_members, combine_members, read_out_of_fold
from birdclef.fold import read_labelled_recordings
from birdclef.lineage import Lineage, describe, trace
from birdclef.metrics import Floats, Labels, accuracy, macro_f1, score_species
from birdclef.ranking import average_precision, macro_roc_auc, padded_cmap, roc_auc
from cache.artefact import find_artefact, read_provenance
from cache.catalogue import read_species

HEADLINE_METRICS: dict[str, Metric] = {
    "macro_f1": macro_f1,
    "accuracy": accuracy,
    "macro_roc_auc": macro_roc_auc,
    "padded_cmap": padded_cmap,
}


@dataclass(frozen=True)
class Scored:
    """What was scored, and the numbers that came out.

    Attributes:
        report: Content of `report.json`, without the command that repeats it.
        catalogue: Usable recordings: recording_id, label, label_index, recordist, sha256, fold, group, ...
        recordings: Those of them that were scored.
        species: Species in the order of class indices.
        probabilities: Of the ensemble, (recordings, classes).
        lineage: Artefacts behind it.
        members: Run directories of each member.
    """

    report: dict[str, Any]
    catalogue: pd.DataFrame
    recordings: pd.DataFrame
    species: pd.DataFrame
    probabilities: NDArray[np.float64]
    lineage: Lineage
    members: dict[str, list[Path]]


@dataclass(frozen=True)
class Scorer:
    """Scores any probabilities on the same recordings, resamples and permutations.

    Attributes:
        labels: True class, (recordings,).
        weights: Resamples, (resamples, recordings).
        permutations: Shuffles, (permutations, recordings).
        confidence: Coverage of the intervals.
    """

    labels: Labels
    weights: Floats
    permutations: NDArray[np.int64]
    confidence: float

    def estimates(self, probabilities: NDArray[np.floating]) -> dict[str, Estimate]:
        """Returns all headline metrics of probabilities, (recordings, classes)."""
        return {
            name: estimate(metric, probabilities, self.labels, self.weights, self.confidence, self.permutations)
            for name, metric in HEADLINE_METRICS.items()
        }

    def macro_f1_difference(self, first: NDArray[np.floating], second: NDArray[np.floating]) -> dict[str, float]:
        """Returns first minus second in macro-F1, with the interval of the paired resamples."""
        paired = macro_f1(first, self.labels, self.weights) - macro_f1(second, self.labels, self.weights)
        low, high = percentile_interval(paired, self.confidence)
        value = float(macro_f1(first, self.labels)[0] - macro_f1(second, self.labels)[0])
        return {"value": value, "low": low, "high": high}


def score_members(
    config: EvaluateConfig, members: Mapping[str, Sequence[Path]], baseline: Path, workspace: Path
) -> Scored:
    """Returns the numbers of a report.

    Args:
        config: Combination and intervals.
        members: Predictions of each member, one directory per fold.
        baseline: Predictions of the baseline on the same split.
        workspace: Where artefacts lie.

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
    combined = combine_members([member.mean for member in out_of_fold.values()], config.ensemble)
    scorer = _build_scorer(recordings, config)
    runs = {
        name: [find_artefact(workspace, "runs", read_provenance(path)["inputs"]["run"]) for path in directories]
        for name, directories in members.items()
    }
    baseline_probabilities = read_out_of_fold([baseline]).of(scored_ids)
    report = {
        "metrics": _as_dicts(scorer.estimates(combined)),
        "confidence": config.confidence,
        "baseline": {
            "name": f"{read_provenance(baseline)['config']['baseline']}, same folds",
            "metrics": _as_dicts(scorer.estimates(baseline_probabilities)),
            "difference_macro_f1": scorer.macro_f1_difference(combined, baseline_probabilities),
        },
        "coverage": describe_coverage(catalogue, recordings, species, lineage),
        "buckets": _score_buckets(combined, recordings, species, scorer),
        "per_species": _score_each_species(combined, recordings, species),
        "ensemble": config.ensemble,
        "members": _score_each_member(out_of_fold, runs, recordings, scorer, config),
        "quarantine": describe_quarantine(lineage.catalogue),
        "duplicates": describe_duplicates(lineage.catalogue),
        "split": describe_split(lineage.split),
        "lineage": describe(lineage, paths),
    }
    return Scored(report, catalogue, recordings, species, combined, lineage, runs)


def _build_scorer(recordings: pd.DataFrame, config: EvaluateConfig) -> Scorer:
    generator = np.random.default_rng(config.seed)
    groups = pd.factorize(recordings["group"])[0].astype(np.int64)
    weights = resample_groups(groups, config.bootstrap_samples, generator)
    permutations = np.stack([generator.permutation(len(recordings)) for _ in range(config.permutations)])
    return Scorer(recordings["label_index"].to_numpy(), weights, permutations, config.confidence)


def _as_dicts(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: asdict(value) for name, value in estimates.items()}


def _score_buckets(
    probabilities: NDArray[np.float64], recordings: pd.DataFrame, species: pd.DataFrame, scorer: Scorer
) -> list[dict[str, Any]]:
    """Returns macro-F1 of the species of each bucket; errors into and from other buckets count."""
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
            value = macro_f1(probabilities, scorer.labels, None, inside)[0]
            resampled = macro_f1(probabilities, scorer.labels, scorer.weights, inside)
            low, high = percentile_interval(resampled, scorer.confidence)
            entry |= {"macro_f1": float(value), "low": low, "high": high}
        buckets.append(entry)
    return buckets


def _score_each_species(
    probabilities: NDArray[np.float64], recordings: pd.DataFrame, species: pd.DataFrame
) -> list[dict[str, Any]]:
    labels = recordings["label_index"].to_numpy()
    scores = score_species(probabilities, labels)
    columns = {
        "scored": scores.support,
        "precision": scores.precision,
        "recall": scores.recall,
        "f1": scores.f1,
        "roc_auc": roc_auc(probabilities, labels)[0],
        "average_precision": average_precision(probabilities, labels)[0],
    }
    return _as_records(species.assign(**columns))


def _score_each_member(
    out_of_fold: Mapping[str, OutOfFold],
    runs: Mapping[str, list[Path]],
    recordings: pd.DataFrame,
    scorer: Scorer,
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    combined = combine_members([member.mean for member in out_of_fold.values()], config.ensemble)
    entries = []
    for name, member in out_of_fold.items():
        summaries = [json.loads((run / "summary.json").read_text()) for run in runs[name]]
        others = [other.mean for key, other in out_of_fold.items() if key != name]
        fold = recordings["fold"].to_numpy()
        entries.append(
            {
                "name": name,
                "backbone": read_provenance(runs[name][0])["config"]["model"]["backbone"],
                "objective": read_provenance(runs[name][0])["config"]["objective"]["kind"],
                "weights": summaries[0]["weights"],
                "parameters": summaries[0]["parameters"],
                "training_seconds": sum(summary["seconds"] for summary in summaries),
                "metrics": _as_dicts(scorer.estimates(member.mean)),
                "macro_f1_per_fold": {
                    str(index): float(macro_f1(member.mean[fold == index], scorer.labels[fold == index])[0])
                    for index in np.unique(fold)
                },
                "views": _score_views(member, scorer),
                "gain_over_others_macro_f1": (
                    scorer.macro_f1_difference(combined, combine_members(others, config.ensemble)) if others else None
                ),
            }
        )
    return entries


def _score_views(member: OutOfFold, scorer: Scorer) -> list[dict[str, Any]]:
    scores = [float(macro_f1(view, scorer.labels)[0]) for view in member.probabilities]
    return _as_records(member.views.assign(macro_f1=scores))


def _as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", table.to_dict(orient="records"))
