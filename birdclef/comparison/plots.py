"""Draws the plots of sweeps and comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from birdclef.comparison.seed_scorer import OVERALL
from birdclef.report.plots import draw
from cache.plots.style import ACCENT, FAINT, INK, render


def plot_sweep(table: pd.DataFrame, varied: list[str]) -> bytes:
    """Returns macro-F1 with its interval for each row of a sweep.

    If a single setting varies and is a number, macro-F1 is drawn over the number. Otherwise each row is a line of the
    plot, the best at the top.

    Args:
        table: One column for each varied setting, and macro_f1, low and high.
        varied: Names of the varied settings.
    """
    numeric = len(varied) == 1 and pd.api.types.is_numeric_dtype(table[varied[0]])
    ordered = table.sort_values(varied[0] if numeric else "macro_f1", ignore_index=True)
    places = ordered[varied[0]].to_numpy(float) if numeric else np.arange(len(ordered), dtype=float)
    spread = np.stack([ordered["macro_f1"] - ordered["low"], ordered["high"] - ordered["macro_f1"]]).clip(min=0)

    def plot(axes: Axes) -> None:
        style: dict[str, Any] = {"color": ACCENT, "ecolor": FAINT, "elinewidth": 2, "marker": "o", "markersize": 5}
        if numeric:
            axes.errorbar(places, ordered["macro_f1"], yerr=spread, linewidth=1, **style)
            axes.set(xlabel=varied[0], ylabel="macro-F1")
            axes.grid(axis="y", color=FAINT, linewidth=0.5)
            return
        axes.errorbar(ordered["macro_f1"], places, xerr=spread, linestyle="none", **style)
        names = [
            ", ".join(f"{name.rsplit('.', 1)[-1]}={row[name]}" for name in varied) for _, row in ordered.iterrows()
        ]
        axes.set_yticks(places, names, fontsize=8, parse_math=False)
        axes.set(xlabel="macro-F1", ylim=(-0.6, len(ordered) - 0.4))
        axes.grid(axis="x", color=FAINT, linewidth=0.5)

    return draw((6.8, 3.4 if numeric else 1.0 + 0.28 * len(ordered)), plot)


def plot_comparison(comparison: Mapping[str, Any]) -> bytes:
    """Returns each arm's macro-F1 minus that of the reference, with its interval.

    There is a panel for each set of species, and in it a row for each arm and a colour for each budget.

    Args:
        comparison: Content of `comparison.json`.
    """
    arms = [entry for entry in comparison["arms"] if entry["name"] != comparison["reference"]]
    names = list(dict.fromkeys(entry["name"] for entry in arms))
    panels = [OVERALL, *(bucket["bucket"] for bucket in comparison["arms"][0]["buckets"])]
    budgets = comparison["budgets"]

    def plot(figure: Figure) -> None:
        all_axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
        for axes, panel in zip(all_axes, panels, strict=True):
            axes.axvline(0, color=INK, linewidth=0.8)
            for number, epochs in enumerate(budgets):
                rows = [entry for entry in arms if entry["epochs"] == epochs]
                places = [names.index(entry["name"]) + 0.3 * (number - (len(budgets) - 1) / 2) for entry in rows]
                colour = mpl.colormaps["Dark2"].colors[number % 8]  # type: ignore[attr-defined]
                differences = [_find_difference(entry, panel) for entry in rows]
                _draw_differences(axes, places, differences, color=colour, label=f"epochs={epochs}")
            axes.set_title("all species" if panel == OVERALL else f"species with {panel}", fontsize=9)
            axes.set(xlabel=f"macro-F1 − {comparison['reference']}")
            axes.grid(axis="x", color=FAINT, linewidth=0.5)
        all_axes[0].set_yticks(range(len(names)), names, parse_math=False)
        all_axes[0].set_ylim(len(names) - 0.5, -0.5)
        all_axes[-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return render((2.6 * len(panels) + 2, 1.4 + 0.3 * len(names) * max(1, len(budgets) / 2)), plot)


def _find_difference(arm: Mapping[str, Any], panel: str) -> Mapping[str, float]:
    """Returns the arm's difference to the reference on the species of a panel."""
    inside = [bucket for bucket in arm["buckets"] if bucket["bucket"] == panel]
    difference: Mapping[str, float] = (inside[0] if inside else arm)["difference"]
    return difference


def _draw_differences(
    axes: Axes, places: Sequence[float], differences: Sequence[Mapping[str, float]], **style: Any
) -> None:
    spread = [
        [difference["value"] - difference["low"] for difference in differences],
        [difference["high"] - difference["value"] for difference in differences],
    ]
    values = [difference["value"] for difference in differences]
    axes.errorbar(values, places, xerr=np.maximum(spread, 0), linestyle="none", marker="o", markersize=4, **style)
