"""Locks of builders: as long as a process builds in a workspace, no other process removes anything there."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_DOOR = "door.lock"


class AtWorkError(RuntimeError):
    """A process is building in the workspace, so nothing may be removed."""


@contextmanager
def at_work(workspace: Path) -> Iterator[None]:
    """Keep other processes from removing anything in the workspace; any number of processes may build at once.

    The lock ends with its process, so a killed builder blocks nobody.
    """
    folder = _folder(workspace)
    mine = FileLock(folder / f"{uuid.uuid4().hex}.lock")
    with FileLock(folder / _DOOR):
        mine.acquire()
    try:
        yield
    finally:
        Path(mine.lock_file).unlink(missing_ok=True)
        mine.release()


def is_at_work(workspace: Path) -> bool:
    """Whether a process builds in the workspace now."""
    return any(is_held(path) for path in (workspace / ".work").glob("*.lock") if path.name != _DOOR)


def is_held(lock_file: Path) -> bool:
    """Whether a living process holds a lock; a lock file that cannot be written counts as free."""
    try:
        FileLock(lock_file).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    except OSError:
        return False
    return False


@contextmanager
def alone_at_work(workspace: Path) -> Iterator[None]:
    """Keep builders out of the workspace.

    Raises:
        AtWorkError: If a process builds in the workspace.
    """
    folder = _folder(workspace)
    with FileLock(folder / _DOOR), ExitStack() as stack:
        for path in sorted(folder.glob("*.lock")):
            if path.name == _DOOR:
                continue
            try:
                stack.enter_context(FileLock(path).acquire(timeout=0))
            except Timeout:
                raise AtWorkError(
                    f"Something is being built in {workspace}. Wait until the build ends, or stop it, and try again."
                ) from None
            path.unlink(missing_ok=True)
        yield


def _folder(workspace: Path) -> Path:
    folder = workspace / ".work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
