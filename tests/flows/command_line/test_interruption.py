"""Commands that are interrupted: Ctrl-C on the terminal sends SIGINT to all processes of its group."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from interrupted_command import interrupt, to_group

SAID = "Interrupted. The next run with these settings goes on where this one stopped."

DEAF = """
import subprocess, sys, time
from flows.command_line.interruption import ending_on_signals
with ending_on_signals():
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    for _ in range(9):
        try:
            print(child.pid, flush=True)
            time.sleep(60)
        except BaseException:
            pass
"""
CONVERTING = """
import time
from flows.command_line.interruption import ending_on_signals
with ending_on_signals():
    try:
        print(flush=True)
        time.sleep(60)
    except BaseException:
        raise ValueError("what a library makes of it") from None
"""


def start(code: str) -> "subprocess.Popen[str]":
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def test_ctrl_c_ends_a_run_with_its_server_and_its_workers_in_ten_seconds_and_with_one_line(
    tiny_overrides: list[str], prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    command = ["features", "demo", *tiny_overrides, "--workspace", str(tmp_path / "workspace")]
    ended = interrupt(command, prefect_environment, "Dask dashboard", 0.3, to_group(signal.SIGINT))
    assert (ended.status, ended.left) == (128 + signal.SIGINT, [])
    assert ended.said[-1] == SAID
    assert ended.seconds < 10


def test_signals_are_heeded_before_the_long_imports() -> None:
    code = "import sys, flows.command_line.entry; print(sys.modules.keys() & {'typer', 'pandas', 'prefect', 'torch'})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_second_ctrl_c_ends_what_does_not_end_itself_at_once_with_its_children() -> None:
    with start(DEAF) as command:
        assert command.stdout is not None
        child = int(command.stdout.readline())
        command.send_signal(signal.SIGINT)
        command.stdout.readline()  # it lives on
        pressed = time.monotonic()
        command.send_signal(signal.SIGINT)
        assert command.wait() == 130
        assert time.monotonic() - pressed < 20  # it would sleep for a minute
        assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
        assert command.stderr is not None
        assert command.stderr.read() == "Interrupted.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_status_is_that_of_an_interruption_whatever_libraries_make_of_it(number: signal.Signals) -> None:
    with start(CONVERTING) as command:
        assert command.stdout is not None
        command.stdout.readline()
        os.kill(command.pid, number)
        assert command.wait() == 130
        assert command.stderr is not None
        assert command.stderr.read() == "Interrupted.\n"
