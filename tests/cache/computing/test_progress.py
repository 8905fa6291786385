import io
import logging
import re

import pytest

from cache.computing.part import Finished, Source
from cache.computing.progress import BuildProgress


def finished(name: str, size: int, seconds: float = 0.0, reason: str = "") -> Finished:
    return Finished(Source(name, f"/audio/{name}.ogg", size), seconds, reason, "no frame decodes" if reason else "")


def test_summary_counts_recordings_hours_and_what_failed() -> None:
    with BuildProgress(recordings=4, total_bytes=100) as progress:
        progress.add([finished("a", 20, 1800.0), finished("b", 20, 900.0)])
        progress.add([finished("c", 30, reason="undecodable")])
        assert re.fullmatch(r"3 of 4 recordings, 0\.75 h of audio, \d+ x real time, 1 failed", progress.summary())


def test_recording_that_is_told_again_is_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    with BuildProgress(recordings=2, total_bytes=50) as progress:
        progress.add([finished("a", 20, 1800.0), finished("b", 30, reason="undecodable")])
        progress.add([finished("a", 20, 1800.0), finished("b", 30, reason="undecodable")])
        assert re.fullmatch(r"2 of 2 recordings, 0\.50 h of audio, \d+ x real time, 1 failed", progress.summary())
    assert len([message for message in caplog.messages if "undecodable" in message]) == 1


def test_speed_is_audio_over_elapsed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 105.0, 105.0, 110.0])
    monkeypatch.setattr("cache.computing.progress.time.monotonic", lambda: next(clock))
    progress = BuildProgress(recordings=1, total_bytes=10)
    progress.add([finished("a", 10, 3000.0)])
    assert "300 x real time" in progress.summary()


def test_unusable_recording_is_named_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with BuildProgress(recordings=1, total_bytes=10) as progress:
        progress.add([finished("a", 10, reason="undecodable")])
    (told,) = [message for message in caplog.messages if "/audio/a.ogg" in message]
    assert "undecodable" in told
    assert "no frame decodes" in told


def test_log_has_a_line_with_the_time_left_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("cache.computing.progress.time.monotonic", lambda: now[0])
    caplog.set_level(logging.INFO, logger="cache.computing.progress")
    progress = BuildProgress(recordings=10, total_bytes=1000)
    for seconds, size in ((5.0, 100), (60.0, 100), (65.0, 100)):
        now[0] = seconds
        progress.add([finished(str(seconds), size)])
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith("features: 2 of 10 recordings")
    assert line.endswith("4 min left")  # a fifth of the bytes took a minute
    assert record.__dict__["progress"] == 0.2


@pytest.mark.parametrize(
    ("seconds", "told"),  # half of the bytes took these seconds, so the other half takes as long
    [(240.0, "4 min left"), (91.0, "2 min left"), (62.0, "70 s left"), (30.0, "30 s left"), (11.0, "20 s left")],
)
def test_short_time_left_is_told_in_seconds_and_never_as_0_min(
    seconds: float, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("cache.computing.progress.time.monotonic", lambda: now[0])
    caplog.set_level(logging.INFO, logger="cache.computing.progress")
    progress = BuildProgress(recordings=2, total_bytes=200)
    now[0] = seconds
    progress.add([finished("a", 100)])
    assert caplog.messages[-1].endswith(f", {told}")
    now[0] += 2 * seconds
    progress.add([finished("b", 100)])  # nothing is left
    assert caplog.messages[-1].endswith(", 10 s left")


def test_end_is_told_but_not_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="cache.computing.progress")
    with BuildProgress(recordings=1, total_bytes=10) as progress:
        progress.add([finished("a", 10, 60.0)])
    assert [message.startswith("features: 1 of 1 recordings") for message in caplog.messages] == [True]
    caplog.clear()
    with pytest.raises(OSError, match="disk"), BuildProgress(recordings=1, total_bytes=10):
        raise OSError("disk")
    assert caplog.messages == []


def test_bar_on_a_terminal_names_the_stage_and_no_kind_of_features(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with BuildProgress(recordings=1, total_bytes=10) as progress:
        progress.add([finished("a", 10, 60.0)])
    assert "features: " in terminal.getvalue()
    assert "log-mel" not in terminal.getvalue()
