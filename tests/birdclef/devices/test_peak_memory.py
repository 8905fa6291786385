"""A block of known size is seen in the peak, and what was held before is not."""

import sys

import numpy as np
import pytest

from birdclef.devices.peak_memory import PeakMemory


@pytest.mark.skipif(sys.platform != "linux", reason="the resident peak is read from /proc")
def test_the_peak_is_what_was_added() -> None:
    before = np.ones(20_000_000)  # 160 MB
    memory = PeakMemory()
    np.ones(30_000_000)  # 240 MB, freed at once
    added = memory.read()
    assert added is not None
    assert 200 < added < 270  # other tests' memory may go in the meantime
    del before
    again = PeakMemory().read()
    assert again is not None
    assert again < 20
