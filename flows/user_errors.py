"""Errors that a user can fix. They are shown in one sentence, with a traceback only on demand."""

import os
import traceback

from flows.configuration.switch import is_on

USER_ERRORS = (ValueError, OSError, RuntimeError, ImportError, ArithmeticError)
"""Errors from wrong input or from the machine. All other errors are defects and keep their traceback."""

_SWITCH = "BIRDCLEF_VERBOSE"


def be_verbose() -> None:
    """Let this process and its child processes show errors with their traceback."""
    os.environ[_SWITCH] = "1"


def is_verbose() -> bool:
    """Returns whether errors are shown with their traceback: after `be_verbose`, or if $BIRDCLEF_VERBOSE is on."""
    return is_on(_SWITCH)


def summarise(error: BaseException) -> str:
    """Returns an error as one sentence: its class and its message."""
    return f"{type(error).__name__}: {error}"


def describe(error: BaseException) -> str:
    """Returns an error for the log or the terminal: one sentence, or the whole traceback if `is_verbose`."""
    return "".join(traceback.format_exception(error)).rstrip() if is_verbose() else summarise(error)
