"""Errors that a child process sends to its parent."""

import pickle


def sendable(error: Exception) -> Exception:
    """Returns the error itself, or a RuntimeError with its text if the error cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:  # a foreign error may fail in any way
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
