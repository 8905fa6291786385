"""Windows on a grid over a recording that arrives piece by piece."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.config.features import FeatureConfig

PLAIN_THRESHOLD = 0.5
"""From which probability a species is present to a single run, for which no threshold was fitted."""
_SHORTEST_REST = 0.1
"""Share of a window that must be left at a recording's end for a window of its own."""


@dataclass(frozen=True)
class Window:
    """Some seconds of a recording.

    Attributes:
        start: Of the window in the recording, s.
        end: Where the window, or before it the recording, ends, s.
        crops: Its log-mel, once for each shift, (shifts, frames, n_mels) in dB.
    """

    start: float
    end: float
    crops: NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """How windows lie.

    Attributes:
        frames: Length of a window.
        seconds: Length of a window, and step to the next.
        frames_per_second: Of the strips.
        shifts: Frames by which the crops of a window are moved.
    """

    frames: int
    seconds: float
    frames_per_second: float
    shifts: Sequence[int]


class WindowClassifier(Protocol):
    """What judges the windows of a recording.

    Attributes:
        species: Species codes in the order of class indices.
        features: Its front end.
        clip_seconds: Length of a window.
        thresholds: From which probability each species is said to be present, (classes,).
    """

    @property
    def species(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def features(self) -> FeatureConfig: ...  # noqa: D102
    @property
    def clip_seconds(self) -> float: ...  # noqa: D102
    @property
    def thresholds(self) -> NDArray[np.float64]: ...  # noqa: D102

    def classify(self, recording: Path, heard: Heard) -> Iterator[tuple[Window, NDArray[np.float64]]]:
        """Yields the windows of a recording in order with their probabilities, (classes,); tells `heard` its length."""
        ...


def cut_windows(pieces: Iterable[NDArray[np.float32]], grid: Grid, heard: Heard) -> Iterator[Window]:
    """Yields the windows of a recording in order; at most one piece and one window are held.

    A crop that would reach over an end of the recording is moved inwards; of a recording shorter than a window it is
    the recording repeated, as in training. The end of a recording makes a window of its own if a tenth is left.

    Args:
        pieces: Strip of the recording, (frames, n_mels) at a time.
        grid: How windows lie.
        heard: How much of the recording lies behind the pieces so far: no window ends beyond it, whatever their frames.
    """
    reach = max(max(grid.shifts), 0) + grid.frames
    held: NDArray[np.float32] | None = None
    origin = number = 0  # frame at which `held` begins, and number of the next window
    for piece in pieces:
        held = piece if held is None else np.concatenate([held, piece])
        whole = origin + len(held) - reach
        while _first_frame(number, grid) <= whole and (number + 1) * grid.seconds <= heard.seconds:
            yield _cut(held, origin, number, None, grid, heard)
            number += 1
        needed = min(_first_frame(number, grid), origin + len(held) - grid.frames) + min(min(grid.shifts), 0)
        dropped = max(0, needed - origin)
        held, origin = held[dropped:], origin + dropped
    if held is None:
        return
    total = origin + len(held)
    least = _SHORTEST_REST * grid.frames
    while number == 0 or (total - _first_frame(number, grid) >= least and number * grid.seconds < heard.seconds):
        yield _cut(held, origin, number, total, grid, heard)
        number += 1


def _first_frame(number: int, grid: Grid) -> int:
    return round(number * grid.seconds * grid.frames_per_second)


def _cut(held: NDArray[np.float32], origin: int, number: int, total: int | None, grid: Grid, heard: Heard) -> Window:
    """Returns a window; `total` is the recording's length in frames once it is known."""
    last = None if total is None else max(total - grid.frames, 0)
    crops = []
    for shift in grid.shifts:
        first = max(_first_frame(number, grid) + shift, 0)
        begin = (first if last is None else min(first, last)) - origin
        crop = held[begin : begin + grid.frames]
        crops.append(crop if len(crop) == grid.frames else np.resize(crop, (grid.frames, crop.shape[1])))
    start = number * grid.seconds
    return Window(start, min(start + grid.seconds, heard.seconds), np.stack(crops))
