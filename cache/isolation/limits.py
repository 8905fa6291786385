"""What a child process sets for itself: how much memory it may take, and that it ends when its parent does."""

import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What the decoding of a recording may take, by default as in the settings of features.

    Attributes:
        memory_gb: Memory, GB.
        seconds: Time without a sample, s.
    """

    memory_gb: float = 8.0
    seconds: float = 300.0


def limit_memory(gigabytes: float) -> None:
    """Let allocations of this process fail above so many GB (10^9 bytes) more than it uses now.

    Does nothing where the system has no /proc/self/statm, which states the memory in use.
    """
    usage = Path("/proc/self/statm")
    if usage.exists():
        in_use = int(usage.read_text().split()[0]) * resource.getpagesize()
        limit, (_, hard) = in_use + round(gigabytes * 1e9), resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def end_with(parent: int) -> None:
    """End this process soon after its parent, even in the middle of a recording that never ends.

    Args:
        parent: Process id of the parent.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
