"""Compares the reports of a grid of settings, as a table and a plot."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 1
"""Raised by hand when the same reports give another table."""

_OTHER_METRICS = ("accuracy", "macro_roc_auc", "padded_cmap")


def compare_settings(settings: Sequence[Mapping[str, Any]], reports: Sequence[Path], workspace: Workspace) -> Path:
    """Returns the directory of the comparison: `sweep.csv`, `sweep.md` and `sweep.png`.

    Tables and plot name the settings that differ between reports.

    Args:
        settings: Settings of each report, by `section.key`.
        reports: Report directories, in the same order.
        workspace: Where artefacts lie.
    """
    inputs = {str(index): artefact_key(report) for index, report in enumerate(reports)}
    recipe = Recipe("sweeps", {"settings": [dict(setting) for setting in settings]}, inputs, VERSION)
    return workspace.materialise(recipe, lambda staging: _write(settings, reports, staging))


def _write(settings: Sequence[Mapping[str, Any]], reports: Sequence[Path], staging: Path) -> None:
    # Imported here so that a comparison that the workspace holds already costs no import of matplotlib.
    import json

    import pandas as pd

    from birdclef.comparison.plots import plot_sweep

    varied = [key for key in settings[0] if len({repr(setting[key]) for setting in settings}) > 1] or list(settings[0])
    rows = []
    for setting, directory in zip(settings, reports, strict=True):
        report = json.loads((directory / "report.json").read_text())
        metrics = report["metrics"]
        shown = {key: setting[key] if isinstance(setting[key], int | float) else str(setting[key]) for key in varied}
        rows.append(
            {
                **shown,
                "macro_f1": metrics["macro_f1"]["value"],
                "low": metrics["macro_f1"]["low"],
                "high": metrics["macro_f1"]["high"],
                **{name: metrics[name]["value"] for name in _OTHER_METRICS},
                "training_seconds": round(sum(run["seconds"] for run in report["lineage"]["runs"]), 1),
                "report": directory.name,
            }
        )
    best_first = sorted(rows, key=lambda row: -row["macro_f1"])
    pd.DataFrame(rows).to_csv(staging / "sweep.csv", index=False)
    (staging / "sweep.md").write_text(_as_markdown(best_first, varied))
    (staging / "sweep.png").write_bytes(plot_sweep(pd.DataFrame(rows), varied))
    best = best_first[0]
    setting_text = ", ".join(f"{name}={best[name]}" for name in varied)
    interval = (best["macro_f1"], best["low"], best["high"])
    logger.info("sweep: best macro-F1 %.3f [%.3f, %.3f] with %s", *interval, setting_text)


def _as_markdown(rows: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> str:
    columns = [*varied, "macro-F1", *_OTHER_METRICS, "training_seconds", "report"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [str(row[name]).replace("|", "\\|") for name in varied]
        cells.append(f"{row['macro_f1']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")
        cells += [f"{row[name]:.3f}" for name in _OTHER_METRICS]
        cells += [f"{row['training_seconds']:.0f}", row["report"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
