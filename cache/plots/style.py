"""The common style of all pictures, and their rendering as PNG."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK, ACCENT, FAINT, WARNING = "#1f2933", "#1b6e5a", "#c9d2d9", "#b3541e"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "svg.hashsalt": "birdclef",
}


def render(size: tuple[float, float], plot: Callable[[Figure], None], *, fitted: bool = True) -> bytes:
    """Returns a figure as PNG.

    Args:
        size: Width and height in inches.
        plot: Draws into the figure.
        fitted: Whether matplotlib places the axes by their content, which takes a third of the time; otherwise `plot`
            places them.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained" if fitted else None)
        plot(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()
