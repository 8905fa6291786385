"""Parts that die, wait and start again; processes that outlive all that looked after them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.serving import supervisor
from flows.serving.supervisor import Part, ServeError, end_leftovers


def tend_until(part: Part, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        part.tend()
        time.sleep(0.05)


def test_part_that_dies_at_once_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    part = Part("worker", (), str(tmp_path), lambda: True)
    with pytest.raises(ServeError, match=r"The worker ended 5 times in a row .* with status 1"):
        tend_until(part, lambda: False)
    assert len(caplog.records) == 4


def test_pauses_between_quick_deaths_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    part = Part("server", (), str(tmp_path), lambda: True)
    tend_until(part, lambda: len(caplog.records) == 3)
    assert [record.__dict__["pause_seconds"] for record in caplog.records] == [1, 2, 4]


def test_part_waits_for_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sleep"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    needed = tmp_path / "needed"
    part = Part("worker", (), str(tmp_path), needed.exists)
    part.tend()
    assert not marked(tmp_path)
    needed.touch()
    part.tend()
    wait_for_mark(tmp_path)
    part.stop(5)
    assert not marked(tmp_path)


def test_leftovers_of_one_home_are_ended_and_no_others(tmp_path: Path) -> None:
    homes = [str(tmp_path / name) for name in ("mine", "other")]
    mine, other = (
        subprocess.Popen(["sleep", "60"], env={**os.environ, "BIRDCLEF_SERVED_FROM": home}, start_new_session=True)
        for home in homes
    )
    try:
        for home in homes:
            wait_for_mark(Path(home))
        assert end_leftovers(homes[0]) == 1
        assert mine.wait(5) == -9
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def wait_for_mark(home: Path) -> None:
    """Wait for the one process with a mark: in the middle of exec the kernel shows an empty environment."""
    deadline = time.monotonic() + 60
    while not (found := marked(home)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(found) == 1


def marked(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("BIRDCLEF_SERVED_FROM") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found
