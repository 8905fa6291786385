"""Messages that every kind of child process sends to its parent."""

import pickle
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Ready:
    """Message: the child has started.

    Attributes:
        pid: Process id of the child.
    """

    pid: int


@dataclass(frozen=True)
class Raised:
    """Message: an error ended the work, but not the child.

    Attributes:
        error: The error, to be raised again in the parent.
    """

    error: Exception

    @classmethod
    def from_error(cls, error: Exception) -> Self:
        """Returns the message of an error; one that cannot be pickled becomes a RuntimeError with its text."""
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
        except Exception:  # a foreign error may fail in any way
            return cls(RuntimeError(f"{type(error).__name__}: {error}"))
        return cls(error)
