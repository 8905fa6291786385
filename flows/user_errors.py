"""Errors that a user can mend: told in one sentence, with a traceback on demand only."""

import os
import traceback

USER_ERRORS = (ValueError, OSError, RuntimeError, ImportError, ArithmeticError)
"""Wrong input and trouble of the machine. All others are defects, and keep their traceback."""

_SWITCH = "BIRDCLEF_VERBOSE"


def be_verbose() -> None:
    """Let this process, and those it starts, tell errors with their traceback."""
    os.environ[_SWITCH] = "1"


def is_verbose() -> bool:
    """Returns whether errors are told with their traceback: `be_verbose` was called, or $BIRDCLEF_VERBOSE is set."""
    return os.environ.get(_SWITCH, "") not in ("", "0")


def summarise(error: BaseException) -> str:
    """Returns an error as one sentence."""
    return f"{type(error).__name__}: {error}"


def describe(error: BaseException) -> str:
    """Returns an error as log or terminal shows it: one sentence, or the whole traceback if `is_verbose`."""
    return "".join(traceback.format_exception(error)).rstrip() if is_verbose() else summarise(error)
