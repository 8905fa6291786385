"""Compares arms with cross-entropy at equal cost, and with baselines, and writes the comparison."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from birdclef.comparison.arms import Trial
from birdclef.config.evaluate import EvaluateConfig
from birdclef.report.markdown_text import escape_markdown
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 8
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
        config: Number of resamples, confidence of the intervals, and how members are fused.
        trials: Trials, each with its prediction directories, one per fold.
        baselines: Name of each baseline to its predictions on the same split.
        companions: Names of the arms that are other members of the experiment; each other arm is fused with them.
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
    # Imported here so that a comparison that the workspace holds already costs no import of matplotlib.
    import json

    import pandas as pd

    from birdclef.comparison.plots import plot_comparison
    from birdclef.comparison.trial_scores import score_trials
    from birdclef.scores.json_values import replace_nan

    comparison = score_trials(config, trials, baselines, companions, workspace)
    (staging / "comparison.json").write_text(json.dumps(replace_nan(comparison), indent=2, allow_nan=False) + "\n")
    rows = _flatten(comparison)
    pd.DataFrame(rows).to_csv(staging / "comparison.csv", index=False)
    (staging / "comparison.md").write_text(_as_markdown(comparison))
    (staging / "comparison.png").write_bytes(plot_comparison(comparison))
    for row in rows:
        if row["epochs"] is not None and row["arm"] != comparison["reference"]:
            logger.info(
                "compare: epochs=%d, %s: macro-F1 %.3f, %+.3f [%+.3f, %+.3f] against %s",
                *(row[name] for name in ("epochs", "arm", "macro_f1", "difference", "difference_low")),
                row["difference_high"],
                comparison["reference"],
            )


_COSTS = ("views", "training_seconds", "prediction_seconds", "peak_memory_mb")


def _flatten(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns one row per arm and budget, and one per baseline."""
    rows = []
    for entry in (*comparison["arms"], *comparison["baselines"]):
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


def _as_markdown(comparison: Mapping[str, Any]) -> str:
    reference = comparison["reference"]
    buckets = [bucket["bucket"] for bucket in comparison["arms"][0]["buckets"]]
    explained = _explain(comparison)
    lines = [explained]
    columns = ["arm", "macro-F1", f"− {escape_markdown(reference)}"]
    for name in buckets:
        columns += [name, f"{name} − {escape_markdown(reference)}"]
    columns += ["seeds ±", "views", "training s", "prediction s", "peak MB"]
    for epochs in comparison["budgets"]:
        lines += ["", f"**Budget in epochs: {epochs}**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [_as_row(entry, reference) for entry in comparison["arms"] if entry["epochs"] == epochs]
    columns = ["baseline", "macro-F1", *buckets, "best arm − baseline"]
    lines += ["", "**Baselines**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for entry in comparison["baselines"]:
        scores = [entry["macro_f1"], *(bucket["macro_f1"] for bucket in entry["buckets"])]
        cells = [escape_markdown(entry["name"]), *map(_interval, scores), _as_best(entry["best_arm"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _explain(comparison: Mapping[str, Any]) -> str:
    from birdclef.comparison.seed_scorer import OVERALL  # slow, and only written comparisons need it

    confidence, seeds = f"{100 * comparison['confidence']:g}%", comparison["seeds"]
    resampled = escape_markdown(comparison["resampled"])
    varied = (
        f"the mean of {seeds} seeds, with its {confidence} interval from resampling seeds and {resampled}"
        if seeds > 1
        else f"that of one seed, with its {confidence} interval from resampling {resampled}; another seed may give "
        "another value"
    )
    single, number = 100 * comparison["difference_confidence"][OVERALL], comparison["differences"]
    together = (
        f"With {confidence} probability all {number} intervals of a column hold their true differences at once. "
        if number > 1
        else ""
    )
    if single > 100 * comparison["confidence"]:
        together += f"So a single interval is wider: one of {single:.1f}% for all species. "
    return (
        f"{comparison['recordings']} recordings of {comparison['species']} species, scored out of fold. Each value is "
        f"{varied}. A difference to `{comparison['reference']}` at the same budget is bold if its interval leaves out "
        f"zero. {together}A bucket holds the species with that many recordings."
    )


def _as_row(entry: Mapping[str, Any], reference: str) -> str:
    def difference(values: Mapping[str, Any]) -> str:
        if entry["name"] == reference:
            return ""
        text = f"{values['value']:+.3f} [{values['low']:+.3f}, {values['high']:+.3f}]"
        return f"**{text}**" if values["low"] > 0 or values["high"] < 0 else text

    cells = [escape_markdown(entry["name"]), _interval(entry["macro_f1"]), difference(entry["difference"])]
    for bucket in entry["buckets"]:
        cells += [_interval(bucket["macro_f1"]), difference(bucket["difference"])]
    memory, deviation = entry["peak_memory_mb"], entry["seed_deviation"]
    cells += ["–" if deviation is None else f"{deviation:.3f}", f"{entry['views']:,}"]
    cells += [f"{entry['training_seconds']:.0f}", f"{entry['prediction_seconds']:.1f}"]
    return f"| {' | '.join([*cells, 'not measured' if memory is None else f'{memory:,.0f}'])} |"


def _as_best(best: Mapping[str, Any]) -> str:
    difference = best["difference"]
    ahead = f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
    return f"{escape_markdown(best['name'])}, epochs={best['epochs']}: {ahead}"


def _interval(values: Mapping[str, float]) -> str:
    return f"{values['value']:.3f} [{values['low']:.3f}, {values['high']:.3f}]"
