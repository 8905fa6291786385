from contextlib import closing
from pathlib import Path

import pytest

from birdclef.serving import progress
from birdclef.serving.progress import PredictionProgress


def test_lines_tell_recordings_and_hours_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with caplog.at_level("INFO"), closing(PredictionProgress(2, 7200.0)) as shown:
        for name, seconds in (("a.wav", (900.0, 900.0, 900.0)), ("b.wav", (1800.0, 1800.0, 1800.0))):
            shown.begin(Path(name))
            for part in seconds:
                shown.add(part)
    assert caplog.messages == [
        "predict: recording 1 of 2, 0.75 of 2.00 h",  # 12 s after the start
        "predict: recording 2 of 2, 2.25 of 2.25 h",  # the headers stated too little
    ]
    assert [record.progress for record in caplog.records] == [0.375, 1.0]  # type: ignore[attr-defined]
