import numpy as np

from birdclef.serving.ensemble_classifier import side_by_side
from birdclef.serving.window_stream import Window


def test_stream_that_ends_early_repeats_its_last_window() -> None:
    fine = [Window(start, end, place, np.empty(0)) for start, end, place in ((0, 2, 2), (2, 4, 4), (2.4, 4.4, 6))]
    coarse = [Window(start, end, end, np.empty(0)) for start, end in ((0, 2), (2, 4))]
    rows = list(side_by_side([iter(coarse), iter(fine)]))
    assert [(first.start, second.start) for first, second in rows] == [(0, 0), (2, 2), (2, 2.4)]
    assert rows == [(other, one) for one, other in side_by_side([iter(fine), iter(coarse)])]
    assert list(side_by_side([iter([]), iter([])])) == []
