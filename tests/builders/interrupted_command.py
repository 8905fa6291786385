"""A command that a signal interrupts at a line of its log, and what it left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 30
Press = Callable[["subprocess.Popen[str]"], None]


@dataclass(frozen=True)
class Interrupted:
    """How an interrupted command ended.

    Attributes:
        status: Its exit status.
        seconds: From the signal to its end.
        said: What it wrote to standard error after the line at which it was interrupted.
        left: Command lines of its child processes that outlive it by a second.
    """

    status: int
    seconds: float
    said: list[str]
    left: list[list[str]]


def to_group(number: signal.Signals) -> Press:
    """As the terminal sends Ctrl-C: to the command, and to its children that have no session of their own."""
    return lambda process: os.killpg(process.pid, number)


def to_process(number: signal.Signals) -> Press:
    return lambda process: process.send_signal(number)


def interrupt(arguments: list[str], environment: dict[str, str], line: str, delay: float, press: Press) -> Interrupted:
    """Run a command, press some seconds after a line of its log that contains `line`, and wait for its end."""
    with subprocess.Popen(
        [sys.executable, "-m", "flows.command_line.entry", *arguments],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        read = ""
        for read_line in process.stderr:
            read += read_line
            if line in read_line:
                break
        assert line in read, read
        time.sleep(delay)
        children = psutil.Process(process.pid).children(recursive=True)
        started = time.monotonic()
        press(process)
        try:
            said = process.communicate(timeout=_PATIENCE_SECONDS)[1].splitlines()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = time.monotonic() - started
    _, left = psutil.wait_procs(children, timeout=1)
    return Interrupted(process.returncode, seconds, said, [child.cmdline() for child in left if _lives(child)])


def _lives(process: psutil.Process) -> bool:
    """Whether a process runs; where the first process of a container buries nobody, an ended one stays a zombie."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
