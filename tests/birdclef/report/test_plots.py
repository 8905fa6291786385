"""Pictures are decoded; what must not show is changed and the picture must stay the same, byte for byte."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from birdclef.report import plots
from birdclef.report.embedding_map import FoldMap
from birdclef.report.plots import (
    draw,
    plot_confusion,
    plot_embeddings,
    plot_f1_against_count,
    plot_learning_curves,
    plot_reliability,
    plot_strip,
)

DPI = 150


def decode(png: bytes) -> np.ndarray:
    """Returns (height, width, 3)."""
    return image.imread(io.BytesIO(png), format="png")[:, :, :3]


def assert_picture(png: bytes, width_inches: float, height_inches: float) -> None:
    pixels = decode(png)
    assert pixels.shape == pytest.approx((height_inches * DPI, width_inches * DPI, 3), abs=1)
    assert (pixels == 1).all(axis=2).mean() > 0.05, "no white paper left"
    assert (pixels < 0.7).any(axis=2).mean() > 0.005, "nothing but white paper"


@pytest.fixture
def per_species() -> pd.DataFrame:
    counts = np.array([3, 5, 8, 20, 40, 100, 250, 500])
    return pd.DataFrame({"recordings": counts, "scored": counts - 1, "f1": np.linspace(0.1, 0.9, 8)})


def test_picture_has_its_size_in_inches() -> None:
    def plot(axes: Axes) -> None:
        axes.bar([0, 1], [1, 2])

    assert_picture(draw((2.0, 1.0), plot), 2.0, 1.0)
    assert draw((2.0, 1.0), plot) == draw((2.0, 1.0), plot)


def test_f1_against_count_is_a_picture(per_species: pd.DataFrame) -> None:
    assert_picture(plot_f1_against_count(per_species), 6.4, 3.4)


def test_unscored_species_do_not_show(per_species: pd.DataFrame) -> None:
    unscored = pd.DataFrame({"recordings": [7, 7000], "scored": 0, "f1": np.nan})
    more = pd.concat([unscored, per_species], ignore_index=True)
    assert plot_f1_against_count(more) == plot_f1_against_count(per_species)
    scored = more.assign(scored=1, f1=more["f1"].fillna(0.5))
    assert plot_f1_against_count(scored) != plot_f1_against_count(per_species)


def test_counts_at_the_axis_are_whole_recordings(per_species: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []

    def keep(size: tuple[float, float], plot: Callable[[Figure], None], **_: bool) -> bytes:
        figures.append(Figure(figsize=size))
        plot(figures[0])
        figures[0].canvas.draw()
        return b""

    monkeypatch.setattr(plots, "render", keep)
    plot_f1_against_count(per_species.assign(recordings=[2, 3, 2, 3, 4, 6, 5, 6]))
    ticks = [tick.get_text() for tick in figures[0].axes[0].get_xticklabels() if tick.get_text()]
    assert {"2", "5"} <= set(ticks)
    assert all(tick.isdigit() for tick in ticks)


def test_species_of_one_count_have_no_trend(per_species: pd.DataFrame) -> None:
    def count_ink(table: pd.DataFrame) -> int:
        return int(
            (np.abs(decode(plot_f1_against_count(table)) - np.array([31, 41, 51]) / 255).max(axis=2) < 0.02).sum()
        )

    same = per_species.assign(recordings=20)
    assert_picture(plot_f1_against_count(same), 6.4, 3.4)
    assert count_ink(per_species) > count_ink(same) + 1000  # line and legend


def test_confusion_is_a_picture_that_grows_with_the_species() -> None:
    generator = np.random.default_rng(0)
    for species, inches in ((3, 4.5), (30, 0.17 * 30 + 1.8), (80, 0.09 * 80 + 1.8)):
        matrix = generator.integers(0, 5, (species, species)) + 20 * np.eye(species, dtype=int)
        assert_picture(plot_confusion(matrix, [f"s{index}" for index in range(species)]), inches, inches)


def test_confusion_shows_shares_of_the_true_species() -> None:
    names = ["a", "b", "c"]
    matrix = np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]])  # c was never the truth
    assert plot_confusion(matrix, names) == plot_confusion(matrix * [[10], [7], [1]], names)
    assert plot_confusion(matrix, names) != plot_confusion(matrix.T, names)


@pytest.mark.parametrize("species", [60, 61, 120])
def test_every_species_is_named_however_many_there_are(species: int) -> None:
    matrix = np.eye(species, dtype=int)
    one, other = (plot_confusion(matrix, [f"{letter}{index}" for index in range(species)]) for letter in "ab")
    assert one != other


def write_run(directory: Path, rows: list[str]) -> Path:
    (directory / "logs").mkdir(parents=True)
    (directory / "logs" / "metrics.csv").write_text("\n".join(["epoch,step,train_loss,val_macro_f1", *rows]) + "\n")
    return directory


def test_learning_curves_are_a_picture(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / str(fold), [f"{epoch},{epoch},{2 / (epoch + fold + 1)},{0.1 * epoch}" for epoch in range(5)]
        )
        for fold in range(4)
    ]
    assert_picture(plot_learning_curves({"one": runs[:2], "two": runs[2:]}), 6.8, 2.9)
    assert plot_learning_curves({"one": runs[:2]}) != plot_learning_curves({"one": runs[:1]})


def test_each_member_has_a_colour_of_its_own(tmp_path: Path) -> None:
    rows = [f"{epoch},{epoch},{2 / (epoch + 1)},{0.1 * epoch}" for epoch in range(5)]
    first, second = write_run(tmp_path / "0", rows), write_run(tmp_path / "1", ["0,0,1.9,0.05", "4,4,0.3,0.3"])
    assert plot_learning_curves({"one": [first], "two": [second]}) != plot_learning_curves({"one": [first, second]})


def test_gaps_of_the_log_do_not_show(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "whole", ["0,9,2.5,0.1", "1,19,1.5,0.3", "2,29,1.0,0.4"])
    apart = write_run(tmp_path / "apart", ["0,9,2.5,", "0,9,,0.1", "1,19,1.5,", "1,19,,0.3", "2,29,1.0,", "2,29,,0.4"])
    assert plot_learning_curves({"one": [whole]}) == plot_learning_curves({"one": [apart]})


def make_strip(frames: int) -> np.ndarray:
    return np.random.default_rng(0).normal(-60, 3, (frames, 8)).astype(np.float16)


def test_strip_is_a_picture() -> None:
    pixels = decode(plot_strip(make_strip(300)))
    assert pixels.shape == (225, 480, 3)
    assert pixels.std() > 0.1


def test_low_bands_are_at_the_bottom() -> None:
    strip = np.full((40, 8), -60, np.float16)
    strip[:, 0] = -10
    pixels = decode(plot_strip(strip)).sum(axis=2)
    assert pixels[200, 240] > pixels[25, 240] + 1


def test_differences_below_one_decibel_are_not_stretched() -> None:
    strip = np.full((40, 8), -60, np.float16)
    strip[::2] += np.float16(0.0625)  # a sixteenth of the colours, not all of them
    pixels = decode(plot_strip(strip))[20:-20, 20:-20]
    assert 0 < pixels.max() - pixels.min() < 0.3


def reliability(accuracy: float) -> dict[str, object]:
    bins = [
        {"recordings": 10 * (index + 1), "confidence": (index + 0.5) / 5, "accuracy": accuracy} for index in range(5)
    ]
    return {"bins": bins}


def test_reliability_shows_both_states() -> None:
    picture = plot_reliability({"before": reliability(0.3), "after": reliability(0.6)})
    assert_picture(picture, 3.8, 3.6)
    assert picture != plot_reliability({"before": reliability(0.6), "after": reliability(0.3)})


def make_map(fold: int, species: int) -> FoldMap:
    generator = np.random.default_rng(fold)
    return FoldMap(fold, [f"${index % species}$" for index in range(60)], generator.normal(size=(60, 2)))


@pytest.mark.parametrize(("folds", "columns", "rows", "legend"), [(1, 1, 1, 4), (2, 2, 1, 2), (5, 3, 2, 2)])
def test_embedding_map_has_a_panel_for_each_fold(folds: int, columns: int, rows: int, legend: int) -> None:
    maps = [make_map(fold, 14) for fold in range(folds)]
    assert_picture(plot_embeddings(maps), 2.6 * columns + 0.4, 2.5 * rows + 0.3 + 0.2 * legend)
    assert plot_embeddings(maps) != plot_embeddings([make_map(fold, 3) for fold in range(folds)])


def test_legend_of_long_names_has_more_rows_and_no_name_is_cut() -> None:
    names = [f"Long-billed {letter * 12} Woodcreeper" for letter in "abcdefghij"]
    maps = [replace(make_map(fold, 10), labels=[names[index % 10] for index in range(60)]) for fold in range(3)]
    pixels = decode(plot_embeddings(maps))
    assert pixels.shape[0] == pytest.approx((2.5 + 0.3 + 0.2 * 5) * DPI, abs=1)  # two names in a row
    assert (pixels[:, [0, -1]] == 1).all()  # no ink at the edges


def test_names_with_dollar_signs_are_no_formulae() -> None:
    assert plot_confusion(np.eye(2, dtype=np.int64), [r"a$\x$", "b$"]).startswith(b"\x89PNG")
