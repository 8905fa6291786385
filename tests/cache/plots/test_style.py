"""Pictures as bytes."""

import io

import matplotlib as mpl
from matplotlib import image
from matplotlib.figure import Figure

from cache.plots.style import INK, render


def draw(figure: Figure) -> None:
    figure.subplots().plot([0, 1], [1, 0])


def test_picture_is_a_png_of_its_size_at_150_dots_an_inch() -> None:
    pixels = image.imread(io.BytesIO(render((3.0, 2.0), draw)))
    assert pixels.shape[:2] == (300, 450)


def test_same_figure_gives_the_same_bytes() -> None:
    assert render((1.0, 1.0), draw) == render((1.0, 1.0), draw)


def test_style_holds_while_a_picture_is_drawn_and_not_after() -> None:
    seen: list[object] = []
    before = mpl.rcParams["axes.labelcolor"]
    render((1.0, 1.0), lambda figure: seen.append(mpl.rcParams["axes.labelcolor"]))
    assert seen == [INK] != [before]
    assert mpl.rcParams["axes.labelcolor"] == before
