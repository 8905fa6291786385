"""Ends a command on Ctrl-C or SIGTERM: within seconds, with one line, and with every process that it started."""

import atexit
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from flows.monitoring.json_log import is_logging_json
from flows.user_errors import is_verbose

STATUS = 130
"""Exit status of an interrupted command: 128 and the number of SIGINT, as shells have it."""
GRACE_SECONDS = 7.0
"""Time to tell the server, to remove unfinished files and to end child processes; after it, all are killed."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STANDARD_ERROR = 2


class Interrupted(BaseException):
    """SIGINT or SIGTERM was received. It is no Exception, so that nothing retries what it ends."""


class _Message:
    """The only line on the interruption: what libraries would print on it is not shown."""

    def __init__(self) -> None:
        self.outlook = ""
        self._lock = threading.RLock()  # a second signal may come while the handler of the first one prints
        self._is_printed = False

    def print(self) -> None:
        """Print the line, once."""
        with self._lock:
            if not self._is_printed:
                self._is_printed = True
                _print(f"Interrupted. {self.outlook}".rstrip())


_message = _Message()
_interrupted = threading.Event()


def set_outlook(outlook: str) -> None:
    """Set the sentence that follows `Interrupted.`: what the same command will do next time."""
    _message.outlook = outlook


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the command that the block runs; an interrupted one exits with status 130.

    The signal raises `Interrupted` in the main thread. A thread of its own prints the line and sets a limit, because
    the main thread may be busy in a library, and libraries such as Prefect replace the handler of SIGTERM. A second
    SIGINT kills everything at once.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, _raise)
    threading.Thread(target=_attend, args=(reading,), daemon=True).start()
    atexit.register(_kill_children)  # runs last, because libraries register what they do at the end later
    try:
        yield
    finally:
        if _interrupted.is_set():
            _message.print()
            sys.exit(STATUS)
        leave_signals()


def leave_signals() -> None:
    """Let SIGINT and SIGTERM end this process as they end any other."""
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    _interrupted.set()
    _message.print()  # before libraries can log what they make of the exception
    raise Interrupted(signal.Signals(number).name)


def _attend(reading: int) -> None:
    """Wait for signals; end the process when it was interrupted and does not end itself in time."""
    limit: float | None = None
    while True:
        remaining = None if limit is None else max(limit - time.monotonic(), 0)
        if not select.select([reading], [], [], remaining)[0]:
            _end()
        received = [number for number in os.read(reading, 1024) if number in _SIGNALS]
        if limit is None and received:
            _interrupted.set()
            _message.print()
            limit = time.monotonic() + GRACE_SECONDS
        elif signal.SIGINT in received:  # Prefect sends each SIGTERM again to its own process
            _end()


def _print(message: str) -> None:
    if is_logging_json():
        logging.getLogger(__name__).warning(message)
    else:
        start = "\n" if os.isatty(_STANDARD_ERROR) else ""  # the terminal shows ^C, maybe behind a progress bar
        with suppress(OSError):
            os.write(_STANDARD_ERROR, f"{start}{message}\n".encode())
    if not is_verbose():
        logging.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_ERROR)


def _end() -> None:
    """Kill all processes below this one, and leave."""
    _kill_children()
    os._exit(STATUS)


def _kill_children() -> None:
    """Kill all processes below this one if it was interrupted."""
    if not _interrupted.is_set():
        return
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.kill()
