"""A lock that one process holds at a time; another process that waits says whom it waits for."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


@contextmanager
def hold_lock(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock while the block runs; the lock ends with its process, even if the process is killed.

    Args:
        path: Lock file. It states which process holds the lock.
        waiting: Start of the line that is logged if another process holds the lock, such as `runs/ab12`.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("%s: waits for %s", waiting, _read_holder(path))
        lock.acquire()
    try:
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        with suppress(OSError):  # a full disk is no reason to do nothing
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}, which started at {now}")
        yield
    finally:
        lock.release()


def _read_holder(path: Path) -> str:
    """Returns which process holds a lock; without its name if the lock file does not state it."""
    with suppress(OSError, UnicodeDecodeError):
        if holder := path.read_text():
            return holder
    return "another process"
