"""Draws the plots of a report as PNG."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from birdclef.metrics.predictions import Labels
from birdclef.report.embedding_map import FoldMap
from cache.plots.style import ACCENT, FAINT, INK, WARNING, render

_ROOMY_SPECIES = 60
_COLOURED_SPECIES = 10
_MAPS_IN_A_ROW = 3
_LEGEND_COLUMNS = 5


def draw(size: tuple[float, float], plot: Callable[[Axes], None]) -> bytes:
    """Returns a PNG with one plot; `size` is its width and height in inches."""
    return render(size, lambda figure: plot(figure.add_subplot()))


def plot_f1_against_count(per_species: pd.DataFrame) -> bytes:
    """Returns F1 of each scored species against its number of recordings; the long tail is on the left."""
    scored = per_species[per_species["scored"] > 0]

    def plot(figure: Figure) -> None:
        axes = figure.add_axes((0.08, 0.15, 0.9, 0.82))
        axes.scatter(scored["recordings"], scored["f1"], s=22, color=ACCENT, alpha=0.7, linewidths=0)
        counts = np.log(scored["recordings"].to_numpy(float))
        edges = np.unique(np.quantile(counts, np.linspace(0, 1, 6)))
        if len(edges) > 1:
            part = np.clip(np.searchsorted(edges, counts, side="right") - 1, 0, len(edges) - 2)
            means = scored["f1"].groupby(part).mean()
            middles = [np.exp(counts[part == index].mean()) for index in means.index]
            axes.plot(middles, means, color=INK, linewidth=1.5, label="mean of the neighbouring fifth of the species")
            axes.legend(frameon=False, loc="best")
        axes.set(xscale="log", ylim=(-0.03, 1.03), xlabel="usable recordings of the species", ylabel="F1")
        axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axes.grid(axis="y", color=FAINT, linewidth=0.5)

    return render((6.4, 3.4), plot, fitted=False)


def plot_confusion(matrix: Labels, names: list[str]) -> bytes:
    """Returns the confusion matrix, in which each row holds shares of the true species.

    Args:
        matrix: Recordings by true species (row) and predicted species (column), (classes, classes).
        names: Name of each species, all of which are written at the axes.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    crowded = len(names) > _ROOMY_SPECIES
    size = max(4.5, (0.09 if crowded else 0.17) * len(names) + 1.8)
    fontsize = 5 if crowded else 7
    margin = min(0.45 + _measure_width(names, fontsize), 0.6 * size)
    side = size - margin - 0.7  # above it is the scale

    def plot(figure: Figure) -> None:
        axes = figure.add_axes((margin / size, margin / size, side / size, side / size))
        scale = figure.add_axes(((margin + 0.3 * side) / size, 1 - 0.55 / size, 0.4 * side / size, 0.1 / size))
        image = axes.imshow(shares, cmap="Greens", vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel="predicted species", ylabel="true species")
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=fontsize, parse_math=False)
        axes.set_yticks(range(len(names)), names, fontsize=fontsize, parse_math=False)
        figure.colorbar(image, cax=scale, location="top", label="share of the true species")

    return render((size, size), plot, fitted=False)


def _measure_width(names: list[str], fontsize: float) -> float:
    """Returns the width of the widest name in inches."""
    font = FontProperties(size=fontsize)
    return max(text_to_path.get_text_width_height_descent(name, font, ismath=False)[0] for name in names) / 72


def plot_learning_curves(members: dict[str, list[Path]]) -> bytes:
    """Returns training loss and validation macro-F1 over epochs, one line per run and one colour per member.

    Args:
        members: Run directories by name of the member.
    """
    colours = mpl.colormaps["Dark2"].colors  # type: ignore[attr-defined]

    def plot(figure: Figure) -> None:
        loss_axes, score_axes = (figure.add_axes((left, 0.17, 0.39, 0.79)) for left in (0.1, 0.59))
        for number, (name, runs) in enumerate(members.items()):
            for fold, run in enumerate(runs):
                log = pd.read_csv(run / "logs" / "metrics.csv")
                label = name if fold == 0 else None
                for axes, column in ((loss_axes, "train_loss"), (score_axes, "val_macro_f1")):
                    curve = log[["epoch", column]].dropna()
                    colour = colours[number % len(colours)]
                    axes.plot(
                        curve["epoch"] + 1, curve[column], color=colour, linewidth=1, marker=".", alpha=0.8, label=label
                    )
        loss_axes.set(xlabel="epoch", ylabel="training loss")
        score_axes.set(xlabel="epoch", ylabel="validation macro-F1", ylim=(0, 1))
        for text in loss_axes.legend(frameon=False).get_texts():
            text.set_parse_math(False)

    return render((6.8, 2.9), plot, fitted=False)


def plot_strip(strip: NDArray[np.float16]) -> bytes:
    """Returns a picture of a strip, (frames, n_mels) in dB, with time to the right and low bands at the bottom."""
    shown = strip.astype(np.float32).T  # (n_mels, frames)
    low, high = np.percentile(shown, [10, 99.8])

    def plot(axes: Axes) -> None:
        axes.imshow(shown, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=max(high, low + 1))
        axes.set_axis_off()

    return draw((3.2, 1.5), plot)


def plot_reliability(calibration: Mapping[str, Any]) -> bytes:
    """Returns accuracy against confidence before and, if it was fitted, after temperature scaling.

    The area of a dot grows with the number of recordings in its bin.

    Args:
        calibration: The entry `calibration` of `report.json`.
    """
    shown = [("before", WARNING, "as predicted"), ("after", ACCENT, "calibrated")][: 2 if calibration["after"] else 1]
    largest = max(one["recordings"] for state, *_ in shown for one in calibration[state]["bins"])

    def plot(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for state, colour, name in shown:
            bins = pd.DataFrame(calibration[state]["bins"])
            axes.plot(bins["confidence"], bins["accuracy"], color=colour, linewidth=1)
            sizes = 4 + 80 * bins["recordings"] / largest
            axes.scatter(
                bins["confidence"], bins["accuracy"], s=sizes, color=colour, alpha=0.7, linewidths=0, label=name
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", aspect="equal")
        axes.legend(frameon=False, loc="upper left")

    return draw((3.8, 3.6), plot)


def plot_embeddings(maps: Sequence[FoldMap]) -> bytes:
    """Returns a panel per fold with its validation recordings; the ten species with most recordings have colours.

    Args:
        maps: Maps of the folds, with the species as they are named in the legend.
    """
    counts = pd.Series([label for one in maps for label in one.labels]).value_counts()
    coloured = counts.index[:_COLOURED_SPECIES].tolist()
    colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
    columns = min(len(maps), _MAPS_IN_A_ROW)
    rows = -(-len(maps) // columns)
    width = 2.6 * columns + 0.4
    # about the width of a name at this size of letters, in inches
    beside = min(_LEGEND_COLUMNS, max(1, int(width / (0.55 + 0.075 * max(map(len, coloured))))))
    legend_rows = -(-len(coloured) // beside)

    def plot(figure: Figure) -> None:
        panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, one in zip(panels, maps, strict=False):
            labels = np.array(one.labels)
            others = ~np.isin(labels, coloured)
            axes.scatter(*one.places[others].T, s=9, color=FAINT, linewidths=0)
            for number, species in enumerate(coloured):
                axes.scatter(*one.places[labels == species].T, s=12, color=colours[number], linewidths=0, label=species)
            axes.set_title(f"fold {one.fold}")
        legend = figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=beside, frameon=False
        )
        for text in legend.get_texts():
            text.set_parse_math(False)

    return render((width, 2.5 * rows + 0.3 + 0.2 * legend_rows), plot)
