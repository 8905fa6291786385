"""A block of known size is seen in the peak, and what was held before is not."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

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


@pytest.mark.skipif(torch.cuda.is_available(), reason="the peak of a GPU is read from its driver")
def test_a_peak_that_cannot_be_set_back_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    write_text = Path.write_text

    def refuse_proc(path: Path, text: str) -> int:
        if path.is_relative_to("/proc"):
            raise PermissionError(13, "Permission denied", str(path))
        return write_text(path, text)

    monkeypatch.setattr(Path, "write_text", refuse_proc)
    assert PeakMemory().read() is None
