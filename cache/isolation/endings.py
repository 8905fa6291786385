"""How a child process ended: of itself, or because somebody killed it."""

import signal

_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)


def is_from_outside(status: int) -> bool:
    """Whether somebody else ended a process, such as a system without memory.

    Args:
        status: Exit status as in `subprocess`, negative for a signal.
    """
    return -status in _FROM_OUTSIDE


def describe_ending(status: int) -> str:
    """Returns the name of the signal that ended a process, or its exit status, as text; `status` as above."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
