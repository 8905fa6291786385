"""Cuts windows from a recording that is decoded piece by piece."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from birdclef.strips.windows import shift_inside
from cache.audio.decoded_length import Heard
from cache.config.features import FeatureConfig

PLAIN_THRESHOLD = 0.5
"""Threshold of each species for a single run, which has no fitted thresholds."""
_SHORTEST_REST = 0.1
"""Shortest rest at a recording's end that becomes a window of its own, as a share of a window."""


@dataclass(frozen=True)
class Window:
    """A window of a recording.

    Windows have places in a grid. At the end of a recording a window is moved inwards, so that it is whole. Then it
    begins before its place. `start` and `end` are what was heard, not the place.

    Attributes:
        start: Start of what the window holds without a shift, s.
        end: End of what the window holds without a shift, s; the end of the recording if it comes first.
        place_end: End of the window's place in the grid, s; it names the row of a submission.
        crops: Piece of the strip for each shift, (shifts, frames, n_mels) in dB.
    """

    start: float
    end: float
    place_end: float
    crops: NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Places of the windows in a recording. The windows adjoin.

    Attributes:
        frames: Length of a window in frames.
        seconds: Length of a window, and step to the next window, s.
        frames_per_second: Frame rate of the strips.
        shifts: Number of frames by which the window is moved for each of its views.
    """

    frames: int
    seconds: float
    frames_per_second: float
    shifts: Sequence[int]


class WindowClassifier(Protocol):
    """A classifier of windows: an ensemble, or an exported model.

    Attributes:
        species: Labels in the order of label_index.
        features: Settings of the front end.
        clip_seconds: Length of a window, s.
        thresholds: Probability from which each species is decided to be present, (classes,).
        species_without_recordings: Labels that a submission needs a column for, although no model knows them.
    """

    @property
    def species(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def features(self) -> FeatureConfig: ...  # noqa: D102
    @property
    def clip_seconds(self) -> float: ...  # noqa: D102
    @property
    def thresholds(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def species_without_recordings(self) -> Sequence[str]: ...  # noqa: D102

    def classify(self, recording: Path, heard: Heard) -> Iterator[tuple[Window, NDArray[np.float64]]]:
        """Yields the windows of a recording in order, each with its probabilities, (classes,).

        Args:
            recording: Audio file.
            heard: Receives the number of seconds decoded so far.
        """
        ...


def cut_windows(pieces: Iterable[NDArray[np.float32]], grid: Grid, heard: Heard) -> Iterator[Window]:
    """Yields the windows of a recording in order; at most one piece and one window are in memory.

    A view that would reach over an end of the recording is moved inwards. A recording shorter than a window is
    repeated, as in training. The rest at the end of a recording becomes a window of its own if it is at least a tenth
    of a window long.

    Args:
        pieces: Pieces of the recording's strip, (frames, n_mels) each.
        grid: Places of the windows.
        heard: Seconds decoded so far; no window may end later.
    """
    reach = max(max(grid.shifts), 0) + grid.frames
    held: NDArray[np.float32] | None = None
    origin = number = 0  # first frame of `held`, and number of the next window
    for piece in pieces:
        held = piece if held is None else np.concatenate([held, piece])
        whole = origin + len(held) - reach
        while _first_frame(number, grid) <= whole and (number + 1) * grid.seconds <= heard.seconds:
            yield _cut(held, origin, number, grid, heard)
            number += 1
        needed = min(_first_frame(number, grid), origin + len(held) - grid.frames) + min(min(grid.shifts), 0)
        dropped = max(0, needed - origin)
        held, origin = held[dropped:], origin + dropped
    if held is None:
        return
    total = origin + len(held)
    least = _SHORTEST_REST * grid.frames
    while number == 0 or (total - _first_frame(number, grid) >= least and number * grid.seconds < heard.seconds):
        yield _cut(held, origin, number, grid, heard)
        number += 1


def _first_frame(number: int, grid: Grid) -> int:
    return round(number * grid.seconds * grid.frames_per_second)


def _cut(held: NDArray[np.float32], origin: int, number: int, grid: Grid, heard: Heard) -> Window:
    """Returns a window of the frames held.

    Args:
        held: End of the strip so far, (frames, n_mels).
        origin: Place of its first frame in the strip.
        number: Number of the window.
        grid: Places of the windows.
        heard: Seconds decoded so far.
    """
    place, total = _first_frame(number, grid), origin + len(held)
    crops = []
    for shift in grid.shifts:
        begin = shift_inside(place, shift, total, grid.frames) - origin
        crop = held[begin : begin + grid.frames]
        crops.append(crop if len(crop) == grid.frames else np.resize(crop, (grid.frames, crop.shape[1])))
    first = shift_inside(place, 0, total, grid.frames)
    start = first / grid.frames_per_second if first < place else number * grid.seconds
    end = min(start + grid.seconds, heard.seconds)
    return Window(start, end, (number + 1) * grid.seconds, np.stack(crops))
