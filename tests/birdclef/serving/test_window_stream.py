"""Windows over pieces are held against slices of the whole strip."""

from collections.abc import Iterator

import numpy as np
import pytest

from birdclef.serving.window_stream import Grid, Window, cut_windows
from cache.audio.decoded_length import Heard

RATE, SECONDS, FRAMES = 10.5, 2.0, 21


def make_strip(frames: int) -> np.ndarray:
    return np.repeat(np.arange(frames, dtype=np.float32)[:, None], 3, axis=1)  # each frame holds its own number


def cut(frames: int, piece: int, shifts: tuple[int, ...] = (0,), beyond: float = 0.0) -> list[Window]:
    """Returns the windows of a recording that lasts some seconds longer than its frames."""
    strip, heard = make_strip(frames), Heard()

    def hear() -> Iterator[np.ndarray]:
        for start in range(0, frames, piece):
            heard.reach(min(start + piece, frames) / RATE + beyond)
            yield strip[start : start + piece]

    return list(cut_windows(hear(), Grid(FRAMES, SECONDS, RATE, shifts), heard))


@pytest.mark.parametrize("piece", [1, 7, 21, 50, 1000])
def test_windows_follow_the_grid_whatever_the_pieces_are(piece: int) -> None:
    windows = cut(100, piece)
    # 100 frames are 4 windows and 16 frames: the fifth is the last 21 frames
    assert [window.crops[0, 0, 0] for window in windows] == [0, 21, 42, 63, 79]
    assert [window.start for window in windows] == pytest.approx([0, 2, 4, 6, 79 / RATE])  # the last is moved inwards
    assert [window.place_end for window in windows] == [2, 4, 6, 8, 10]
    assert [window.end for window in windows] == pytest.approx([2, 4, 6, 8, 100 / RATE])
    for window in windows:
        assert window.crops.shape == (1, FRAMES, 3)
        assert (np.diff(window.crops[0, :, 1]) == 1).all()


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_shifted_crops_stay_inside_the_recording(piece: int) -> None:
    windows = cut(100, piece, (-5, 0, 8))
    first = [window.crops[:, 0, 0].tolist() for window in windows]
    assert first == [[0, 0, 8], [16, 21, 29], [37, 42, 50], [58, 63, 71], [79, 79, 79]]


def test_short_rest_makes_no_window() -> None:
    assert len(cut(4 * FRAMES + 2, 10)) == 4
    assert len(cut(4 * FRAMES + 3, 10)) == 5
    assert len(cut(4 * FRAMES, 10)) == 4


@pytest.mark.parametrize("frames", [1, 2, 20])
def test_recording_shorter_than_a_window_is_repeated(frames: int) -> None:
    (window,) = cut(frames, 6, (-5, 0))
    assert window.crops[1, :, 0].tolist() == [index % frames for index in range(FRAMES)]
    assert (window.start, window.end, window.place_end) == (0, pytest.approx(frames / RATE), SECONDS)


@pytest.mark.parametrize("piece", [1, 10, 1000])
@pytest.mark.parametrize(("beyond", "ends"), [(-0.5, [2, 4, 5.5]), (0.0, [2, 4, 6]), (0.7, [2, 4, 6])])
def test_window_ends_with_the_recording_and_not_with_its_frames(piece: int, beyond: float, ends: list[float]) -> None:
    windows = cut(3 * FRAMES, piece, beyond=beyond)
    assert [window.end for window in windows] == pytest.approx(ends)
    assert [window.crops[0, 0, 0] for window in windows] == [0, 21, 42]


def test_no_window_begins_where_the_recording_has_ended() -> None:
    assert [window.start for window in cut(3 * FRAMES, 10, beyond=-2.0)] == [0, 2]


def test_no_piece_no_window() -> None:
    assert cut(0, 5) == []


def test_windows_do_not_drift() -> None:
    grid = Grid(10, 1.0, 10.4, [0])  # 10.4 frames a second: the tenth window begins at frame 104, not 100
    heard = Heard()
    heard.reach(300 / 10.4)
    windows = list(cut_windows(iter([make_strip(300)]), grid, heard))
    assert windows[10].crops[0, 0, 0] == 104
