"""Draws pictures of a data set (species, recordists, quarantine) and of a split."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

from cache.folds.groups import PINNED_FOLD, TEST_FOLD, is_unknown
from cache.plots.style import ACCENT, FAINT, INK, WARNING, render


def plot_catalogue(usable: pd.DataFrame, quarantine: pd.DataFrame) -> bytes:
    """Returns a PNG with recordings, hours and recordists of each species, and the reasons of the quarantine.

    Args:
        usable: label, seconds and recordist of the usable recordings.
        quarantine: reason of the unusable recordings.
    """
    named = usable[~is_unknown(usable["recordist"])]
    per_species = (
        usable.groupby("label")
        .agg(recordings=("label", "size"), seconds=("seconds", "sum"))
        .assign(hours=lambda species: species["seconds"] / 3600)
        .assign(recordists=named.groupby("label")["recordist"].nunique())
        .fillna({"recordists": 0})
        .sort_values("recordings", ascending=False)
    )
    rank = np.arange(1, len(per_species) + 1)

    def plot(figure: Figure) -> None:
        counts, hours, recordists, reasons = figure.subplots(2, 2).flat
        for axes, column in ((counts, "recordings"), (hours, "hours")):
            if per_species.empty:
                axes.set_axis_off()
                continue
            axes.bar(rank, per_species[column], width=1, color=ACCENT, linewidth=0)
            axes.set(xlabel="species, most recordings first", xlim=(0.5, len(rank) + 0.5), yscale="log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_locator(NullLocator())  # small ticks would double the time to draw
        counts.set(title=f"{len(usable):,} recordings of {len(rank)} species", ylabel="recordings")
        hours.set(title=f"{per_species['hours'].sum():,.1f} hours", ylabel="hours")
        known = per_species[per_species["recordists"] > 0]
        recordists.scatter(known["recordings"], known["recordists"], s=14, color=ACCENT, alpha=0.6, linewidths=0)
        if known.empty:
            recordists.set_axis_off()
        else:
            recordists.set(xscale="log", yscale="log")
            for axis in (recordists.xaxis, recordists.yaxis):
                axis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axis.set_minor_locator(NullLocator())
        count, unknown = named["recordist"].nunique(), len(usable) - len(named)
        recordists.set(title=f"{count:,} recordists, {unknown:,} recordings without one")
        recordists.set(xlabel="recordings of a species", ylabel="recordists of it")
        _plot_bars(reasons, quarantine["reason"].value_counts(), WARNING)
        reasons.set(title=f"{len(quarantine):,} recordings in quarantine", xlabel="recordings")
        figure.subplots_adjust(left=0.075, right=0.985, top=0.95, bottom=0.085, wspace=0.3, hspace=0.38)

    return render((8.6, 5.6), plot, fitted=False)


def plot_split(split: pd.DataFrame, report: dict[str, Any]) -> bytes:
    """Returns a PNG with the size of each fold, each species' share in it, and the leaks of this and a plain split.

    Args:
        split: label and fold of each recording.
        report: Content of `split_report.json`.
    """
    names = {PINNED_FOLD: "only\ntraining", TEST_FOLD: "held\nout"}
    folds = sorted(set(split["fold"]), key=lambda fold: (fold < 0, fold))
    counts = pd.crosstab(split["label"], split["fold"])[folds]
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    shares = counts.to_numpy(float) / counts.sum(axis=1).to_numpy(float)[:, np.newaxis]  # (species, folds)
    ticks = [names.get(fold, str(fold)) for fold in folds]

    def plot(figure: Figure) -> None:
        sizes, leak = figure.add_axes((0.13, 0.58, 0.36, 0.36)), figure.add_axes((0.13, 0.1, 0.36, 0.32))
        heat, scale = figure.add_axes((0.6, 0.1, 0.27, 0.84)), figure.add_axes((0.9, 0.3, 0.02, 0.4))
        sizes.bar(range(len(folds)), counts.sum(), color=[ACCENT if fold >= 0 else FAINT for fold in folds])
        sizes.set_xticks(range(len(folds)), ticks)
        sizes.set(title="recordings in each fold", ylabel="recordings")
        leaking = {"this split": report["leak"], "plain stratified": report["plain_stratified"]["leak"]}
        values = pd.Series({name: 100 * part["leaking_share"] for name, part in leaking.items()})
        known, validated = report["overlap"]["recordist_known"], report["overlap"]["recordings"]
        if known:
            _plot_bars(leak, values, WARNING)
            leak.set(xlim=(0, 100), xlabel="% of validated recordings")
            limits = "" if known == validated else f"\n(recordist known for {known:,} of {validated:,} recordings)"
            leak.set_title(f"trained on the same recordist and species{limits}")
        else:
            leak.set_axis_off()
            leak.set_title("no recordist is known, so leaks can't be counted")
        image = heat.imshow(shares, aspect="auto", cmap="Greens", vmin=0, interpolation="nearest")
        heat.set_xticks(range(len(folds)), ticks)
        heat.set(title="share of each species in each fold", ylabel="species, most recordings first")
        figure.colorbar(image, cax=scale)

    return render((8.6, 5.2), plot, fitted=False)


def _plot_bars(axes: Axes, values: pd.Series, colour: str) -> None:
    """Draw horizontal bars with their values, the first on top; without values, draw nothing."""
    if values.empty:
        axes.set_axis_off()
        return
    places = range(len(values))
    axes.barh(places, values, color=colour, height=0.6)
    axes.set_yticks(places, [str(name) for name in values.index])
    axes.invert_yaxis()
    for place, value in zip(places, values, strict=True):
        axes.annotate(f" {value:,.4g}", (value, place), va="center", color=INK)
    axes.margins(x=0.15)
