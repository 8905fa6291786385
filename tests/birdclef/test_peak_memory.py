"""A block of known size is seen by the peak, and forgotten after a reset."""

import sys

import numpy as np
import pytest

from birdclef.peak_memory import read_peak_memory, reset_peak_memory


@pytest.mark.skipif(sys.platform != "linux", reason="the resident peak is read from /proc")
def test_peak_grows_by_what_is_held_and_starts_anew() -> None:
    reset_peak_memory()
    before = read_peak_memory()
    np.ones(30_000_000)  # 240 MB
    held = read_peak_memory()
    assert before is not None
    assert held is not None
    assert 230 < held - before < 260
    reset_peak_memory()
    after = read_peak_memory()
    assert after is not None
    assert after < held - 200
