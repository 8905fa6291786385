"""Who is at work in a workspace: builders register, so that nothing is removed under their hands."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_DOOR = "door.lock"


class AtWorkError(RuntimeError):
    """Something is being built in the workspace."""


@contextmanager
def at_work(workspace: Path) -> Iterator[None]:
    """Keep others from removing anything in the workspace; any number may be at work at once.

    The lock dies with its process, so a killed builder is in nobody's way.
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
    """Whether a process is at work in the workspace."""
    return any(is_held(path) for path in (workspace / ".work").glob("*.lock") if path.name != _DOOR)


def is_held(lock_file: Path) -> bool:
    """Whether a living process holds a lock; one in a place that cannot be written to counts as free."""
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
        AtWorkError: If one is at work.
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
                    f"Something is being built in {workspace}. Wait until it is done, or stop it, and try again."
                ) from None
            path.unlink(missing_ok=True)
        yield


def _folder(workspace: Path) -> Path:
    folder = workspace / ".work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
