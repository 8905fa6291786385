"""Compares the reports of a grid of settings, as a table and a plot."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from birdclef.report.markdown_text import escape_markdown
from birdclef.scores.report_file import read_report
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 3
"""Raised by hand when the same reports give another table."""

_OTHER_METRICS = ("accuracy", "macro_roc_auc", "padded_cmap")


def compare_settings(settings: Sequence[Mapping[str, Any]], reports: Sequence[Path], workspace: Workspace) -> Path:
    """Returns the directory of the comparison: `sweep.csv`, `sweep.md` and `sweep.png`.

    Tables and plot name the settings that differ between reports. The best setting is named among the rows whose scores
    compare: those without `select=best`, and to which `birdclef.comparison.comparability` does not object beside the
    row about which there is the least doubt; of several the one that scored most recordings.

    Args:
        settings: Settings of each report, by `section.key`.
        reports: Report directories, in the same order.
        workspace: Where artefacts lie.
    """
    inputs = {str(index): artefact_key(report) for index, report in enumerate(reports)}
    recipe = Recipe("sweeps", {"settings": [dict(setting) for setting in settings]}, inputs, VERSION)
    return workspace.materialise(recipe, lambda staging: _write(settings, reports, workspace, staging))


def _write(settings: Sequence[Mapping[str, Any]], reports: Sequence[Path], workspace: Workspace, staging: Path) -> None:
    # Imported here so that a comparison that the workspace holds already costs no import of matplotlib.
    import pandas as pd

    from birdclef.comparison.plots import plot_sweep

    varied = [key for key in settings[0] if len({repr(setting[key]) for setting in settings}) > 1] or list(settings[0])
    contents = [read_report(directory) for directory in reports]
    objections = _find_objections(reports, contents, workspace)
    rows = [
        {
            **{key: setting[key] if isinstance(setting[key], int | float) else str(setting[key]) for key in varied},
            **_describe(content),
            "objection": "; ".join(objection),
            "report": directory.name,
        }
        for setting, directory, content, objection in zip(settings, reports, contents, objections, strict=True)
    ]
    best_first = sorted(rows, key=lambda row: (row["objection"] != "", -row["macro_f1"]))
    told = [_name_best(best_first, varied), *_name_unread(settings, reports, varied)]
    pd.DataFrame(rows).to_csv(staging / "sweep.csv", index=False)
    (staging / "sweep.md").write_text(_as_markdown(best_first, varied) + "".join(f"\n{line}\n" for line in told))
    (staging / "sweep.png").write_bytes(plot_sweep(pd.DataFrame(rows), varied))
    for line in told:
        logger.info("sweep: %s", line)


def _describe(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns scores, cost and folds of a report."""
    metrics = report["metrics"]
    return {
        **{"macro_f1" if name == "value" else name: metrics["macro_f1"][name] for name in ("value", "low", "high")},
        **{name: metrics[name]["value"] for name in _OTHER_METRICS},
        "training_seconds": round(sum(member["training_seconds"] for member in report["members"]), 1),
        "leaking_share": report["split"]["leak"]["leaking_share"],
        "folds": report["lineage"]["split"]["key"],
        "select": ", ".join(sorted({run["config"]["select"] for run in report["lineage"]["runs"]})),
    }


def _find_objections(
    reports: Sequence[Path], contents: Sequence[Mapping[str, Any]], workspace: Workspace
) -> list[list[str]]:
    """Returns for each report why its score does not compare with those of the others, in words; empty if it does."""
    from birdclef.comparison.comparability import find_doubts, find_objections, find_selection
    from birdclef.comparison.leaks import measure_leaks

    doubts = find_doubts(reports)
    scored = [content["coverage"]["recordings_scored"] for content in contents]
    fairest = reports[min(range(len(reports)), key=lambda row: (doubts[row].grounds, -scored[row]))]

    def hold_to_fairest(report: Path) -> list[str]:
        if report.name == fairest.name:
            return []
        return find_objections(report, fairest, measure_leaks(report, fairest, workspace), workspace)

    return [[*find_selection(report), *hold_to_fairest(report)] for report in reports]


def _name_best(rows: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> str:
    """Returns which setting is best, or which ones are equally good, among the rows whose scores compare.

    Args:
        rows: The best first; rows with an objection last.
        varied: Names of the varied settings.
    """
    compared = [row for row in rows if not row["objection"]] or list(rows[:1])
    best = [row for row in compared if row["macro_f1"] == compared[0]["macro_f1"]]
    named = " and with ".join(", ".join(f"{name}={row[name]}" for name in varied) for row in best)
    score = "macro-F1 {macro_f1:.3f} [{low:.3f}, {high:.3f}]".format(**best[0])
    left = f"; settings left out, because their scores do not compare: {len(rows) - len(compared)}"
    ending = left if len(rows) > len(compared) else ""
    if compared[0]["objection"]:
        return f"no score compares with another one; the first has {score} with {named}: {compared[0]['objection']}"
    if len(best) == len(compared) > 1:
        return f"the settings do not differ: {score} with {named}{ending}"
    return f"best {score} with {named}{ending}"


def _name_unread(settings: Sequence[Mapping[str, Any]], reports: Sequence[Path], varied: Sequence[str]) -> list[str]:
    """Returns a sentence on each varied setting that changes no report, because no stage of a sweep reads it."""
    names = [report.name for report in reports]
    unread = []
    for key in varied:
        by_others: dict[str, set[str]] = {}
        for setting, name in zip(settings, names, strict=True):
            others = repr([value for other, value in setting.items() if other != key])
            by_others.setdefault(others, set()).add(name)
        if len(settings) > len(by_others) and all(len(same) == 1 for same in by_others.values()):
            unread.append(f"{key} changes no report here, so this sweep tells nothing about it.")
    return unread


def _as_markdown(rows: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> str:
    columns = [
        *varied,
        "macro-F1",
        *_OTHER_METRICS,
        "training_seconds",
        "leak",
        "folds",
        "select",
        "compares",
        "report",
    ]
    lines = [f"| {' | '.join(map(escape_markdown, columns))} |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [str(row[name]) for name in varied]
        cells.append(f"{row['macro_f1']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")
        cells += [f"{row[name]:.3f}" for name in _OTHER_METRICS]
        cells += [f"{row['training_seconds']:.0f}", f"{100 * row['leaking_share']:.1f} %", row["folds"], row["select"]]
        cells += [f"no: {row['objection']}" if row["objection"] else "yes", row["report"]]
        lines.append(f"| {' | '.join(map(escape_markdown, cells))} |")
    return "\n".join(lines) + "\n"
