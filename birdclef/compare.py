"""Trials of several arms held against cross-entropy at equal cost, with baselines beside them, as one report."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from birdclef.comparison.arms import Trial
from birdclef.config.evaluate import EvaluateConfig
from cache.workspace.artefact import Recipe, artefact_key
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 3
"""Raised by hand when the same predictions and settings give another comparison."""


def compare(
    config: EvaluateConfig,
    trials: Sequence[tuple[Trial, Sequence[Path]]],
    baselines: Mapping[str, Path],
    companions: Sequence[str],
    workspace: Workspace,
) -> Path:
    """Returns the directory of the comparison: `comparison.json`, `comparison.csv`, `comparison.md`, `comparison.png`.

    Args:
        config: Resamples and confidence of the intervals, and how members are fused.
        trials: Each with its predictions, one directory per fold.
        baselines: Name of each to its predictions on the same split.
        companions: Arms that are other members, and are fused with each of the rest.
        workspace: Where artefacts lie.

    Raises:
        ValueError: If predictions cover different recordings or species, or come from different splits.
    """
    inputs = {
        f"{trial.arm}/{trial.epochs}/{trial.seed}/{index}": artefact_key(path)
        for trial, paths in trials
        for index, path in enumerate(paths)
    } | {name: artefact_key(path) for name, path in baselines.items()}
    recipe = Recipe("comparisons", {**config.identity(), "companions": list(companions)}, inputs, VERSION)
    return workspace.materialise(
        recipe, lambda staging: _write(config, trials, baselines, companions, workspace, staging)
    )


def _write(
    config: EvaluateConfig,
    trials: Sequence[tuple[Trial, Sequence[Path]]],
    baselines: Mapping[str, Path],
    companions: Sequence[str],
    workspace: Workspace,
    staging: Path,
) -> None:
    # Imported here so that a comparison found in the workspace does not pay for matplotlib.
    import json

    import pandas as pd

    from birdclef.comparison.contest import score_trials
    from birdclef.report.plots import plot_comparison

    contest = score_trials(config, trials, baselines, companions, workspace)
    (staging / "comparison.json").write_text(json.dumps(contest, indent=2) + "\n")
    rows = _flatten(contest)
    pd.DataFrame(rows).to_csv(staging / "comparison.csv", index=False)
    (staging / "comparison.md").write_text(_as_markdown(contest))
    (staging / "comparison.png").write_bytes(plot_comparison(contest))
    for row in rows:
        if row["epochs"] is not None:
            logger.info(
                "compare: %d epochs, %s: macro-F1 %.3f, %+.3f [%+.3f, %+.3f] against %s",
                *(row[name] for name in ("epochs", "arm", "macro_f1", "difference", "difference_low")),
                row["difference_high"],
                contest["reference"],
            )


_COSTS = ("views", "training_seconds", "prediction_seconds", "peak_memory_mb")


def _flatten(contest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns one row per arm and budget, and one per baseline."""
    rows = []
    for entry in (*contest["arms"], *contest["baselines"]):
        row = {
            "epochs": entry.get("epochs"),
            "arm": entry["name"],
            "macro_f1": entry["macro_f1"]["value"],
            "low": entry["macro_f1"]["low"],
            "high": entry["macro_f1"]["high"],
            "seed_deviation": entry.get("seed_deviation"),
        }
        if "difference" in entry:
            difference = entry["difference"]
            row |= {
                "difference": difference["value"],
                "difference_low": difference["low"],
                "difference_high": difference["high"],
            }
        for bucket in entry["buckets"]:
            row[f"macro_f1_{bucket['bucket']}"] = bucket["macro_f1"]["value"]
        rows.append({**row, **{name: entry.get(name) for name in _COSTS}})
    return rows


def _as_markdown(contest: Mapping[str, Any]) -> str:
    reference, confidence = contest["reference"], f"{contest['confidence']:.0%}"
    buckets = [bucket["bucket"] for bucket in contest["arms"][0]["buckets"]]
    explained = (
        f"{contest['recordings']} recordings of {contest['species']} species, out of fold; mean of {contest['seeds']} "
        f"seeds; {confidence} intervals over recordists and seeds; in bold: the interval of a difference to "
        f"`{reference}` at the same budget leaves out zero. Buckets are species by their number of recordings."
    )
    lines = [explained]
    columns = ["arm", "macro-F1", f"− {reference}"]
    for name in buckets:
        columns += [name, f"{name} − {reference}"]
    columns += ["seeds ±", "views", "training s", "prediction s", "peak MB"]
    for epochs in contest["budgets"]:
        lines += ["", f"**{epochs} epochs**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [_as_row(entry, reference) for entry in contest["arms"] if entry["epochs"] == epochs]
    columns = ["baseline", "macro-F1", *buckets, "best arm − baseline"]
    lines += ["", "**Baselines**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for entry in contest["baselines"]:
        scores = [entry["macro_f1"], *(bucket["macro_f1"] for bucket in entry["buckets"])]
        lines.append(f"| {' | '.join([entry['name'], *map(_interval, scores), _as_best(entry['best_arm'])])} |")
    return "\n".join(lines) + "\n"


def _as_row(entry: Mapping[str, Any], reference: str) -> str:
    def difference(values: Mapping[str, Any]) -> str:
        if entry["name"] == reference:
            return ""
        text = f"{values['value']:+.3f} [{values['low']:+.3f}, {values['high']:+.3f}]"
        return f"**{text}**" if values["low"] > 0 or values["high"] < 0 else text

    cells = [entry["name"].replace("|", "\\|"), _interval(entry["macro_f1"]), difference(entry["difference"])]
    for bucket in entry["buckets"]:
        cells += [_interval(bucket["macro_f1"]), difference(bucket["difference"])]
    memory = entry["peak_memory_mb"]
    cells += [f"{entry['seed_deviation']:.3f}", f"{entry['views']:,}"]
    cells += [f"{entry['training_seconds']:.0f}", f"{entry['prediction_seconds']:.1f}"]
    return f"| {' | '.join([*cells, 'not measured' if memory is None else f'{memory:,.0f}'])} |"


def _as_best(best: Mapping[str, Any]) -> str:
    difference = best["difference"]
    ahead = f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
    return f"{best['name']}, {best['epochs']} epochs: {ahead}".replace("|", "\\|")


def _interval(values: Mapping[str, float]) -> str:
    return f"{values['value']:.3f} [{values['low']:.3f}, {values['high']:.3f}]"
