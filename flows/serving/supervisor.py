"""Keeps processes running: restarts them with growing pauses when they die, and ends them all at the end."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

from flows.monitoring.json_log import is_logging_json, relay_as_json

logger = logging.getLogger(__name__)

_MARK = "BIRDCLEF_SERVED_FROM"
_MOST_QUICK_DEATHS = 5
_QUICK_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 60
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in Linux's prctl.h
_LIBC = ctypes.CDLL(None)  # loaded here, because a process must not load a library between fork and exec


class ServeError(RuntimeError):
    """Serving cannot start or continue; the message says why and what to do."""


class Part:
    """A Python module that is run again when it ends, after 1, 2, 4, ... s if it ends within 60 s of its start.

    The process leads a process group, so that it and its children end together. All of them carry an environment
    variable, so that `end_leftovers` can find processes that survived.
    """

    def __init__(self, name: str, arguments: tuple[str, ...], home: str, ready: Callable[[], bool]) -> None:
        """Describe a part without starting it.

        Args:
            name: Name in log messages.
            arguments: Name and arguments of the module.
            home: Value of the environment variable that marks the processes.
            ready: Returns whether the command can start; called before each start.
        """
        self._name = name
        self._arguments = arguments
        self._home = home
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = self._started = time.monotonic()
        self._quick_deaths = 0

    def tend(self) -> None:
        """Start the process if it does not run, its pause is over and it is ready.

        Raises:
            ServeError: If the process died within 60 s of its start, five times in a row.
        """
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._bury(self._process)
        if time.monotonic() >= self._start_at and self._ready():
            command = [sys.executable, "-m", *self._arguments]
            self._process = start_process(command, {**os.environ, _MARK: self._home}, f"prefect.{self._name}")
            self._started = time.monotonic()

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        _signal_group(process, signal.SIGKILL)
        self._process = None
        lived = time.monotonic() - self._started
        self._quick_deaths = self._quick_deaths + 1 if lived < _QUICK_SECONDS else 1
        if self._quick_deaths >= _MOST_QUICK_DEATHS:
            raise ServeError(
                f"The {self._name} ended {self._quick_deaths} times in a row within {_QUICK_SECONDS:.0f} s of its "
                f"start, the last time with status {process.returncode}. Fix the error that it printed above, and "
                "start `birdclef serve` again."
            )
        pause = min(2 ** (self._quick_deaths - 1), LONGEST_PAUSE_SECONDS)
        self._start_at = time.monotonic() + pause
        logger.warning(
            "serve: the %s ended with status %s after %.0f s, and starts again in %d s",
            self._name,
            process.returncode,
            lived,
            pause,
            extra={"part": self._name, "status": process.returncode, "pause_seconds": pause},
        )

    def stop(self, seconds: float) -> None:
        """End the process and all its children; kills them if they have not ended after `seconds`."""
        if self._process is None:
            return
        _signal_group(self._process, signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            logger.warning("serve: the %s did not stop in %.0f s and is killed", self._name, seconds)
        _signal_group(self._process, signal.SIGKILL)
        self._process.wait()
        self._process = None


def end_leftovers(home: str) -> int:
    """Kill all processes that an earlier `birdclef serve` with this Prefect home left; returns their number."""
    ended = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_MARK) == home and process.pid != os.getpid():
                process.kill()
                ended += 1
    return ended


def start_process(command: list[str], environment: Mapping[str, str], log_name: str) -> subprocess.Popen[bytes]:
    """Returns a process in a session of its own, which no signal of the terminal reaches.

    On Linux the kernel ends it when the thread that called this ends, so the main thread must.

    Args:
        command: Program and its arguments.
        environment: All environment variables of the process.
        log_name: Logger of its output, if the log is JSON.
    """
    output = subprocess.PIPE if is_logging_json() else None
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    if process.stdout:
        relay_as_json(process.stdout, log_name)
    return process


def _end_with_parent() -> None:
    """Let the kernel end this process if its parent dies, even by SIGKILL."""
    _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
