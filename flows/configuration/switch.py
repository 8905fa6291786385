"""Reads environment variables that switch something on or off."""

import os

_OFF = ("", "0", "false", "no", "off", "f", "n")


def is_on(variable: str) -> bool:
    """Returns whether a variable is on: every value but 0, false, no, off and the empty text switches it on."""
    return os.environ.get(variable, "").strip().lower() not in _OFF
