"""Writes files and moves folders so that they are either complete or absent, even if the machine loses power."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file that is either complete or absent, even if the machine dies; text is encoded as UTF-8."""
    with replace_atomically(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yields a path beside `path`. The file or link that the block makes there takes the place of `path` at its end.

    If the block raises an error, `path` stays as it is, and nothing is left beside it.
    """
    # A random name, because two containers that share a folder may have the same process number.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        if not partial.is_symlink():
            flush_to_disk(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _flush_folder(path.parent)


def move_atomically(folder: Path, target: Path) -> None:
    """Rename a folder whose files nobody writes any more; after that, it is complete at `target`.

    File systems may write a rename to the disk before the content of the files. So everything is flushed first, and the
    rename last.

    Raises:
        OSError: If the rename fails, for example because `target` exists. The folder stays then.
    """
    for directory, _, names in os.walk(folder):
        for name in names:
            flush_to_disk(Path(directory) / name)
        _flush_folder(Path(directory))
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    for parent in (target.parent, target.parent.parent):  # the second holds the name of the first, which may be new
        _flush_folder(parent)


def flush_to_disk(path: Path) -> None:
    """Write a file's content, or a folder's list of names, from the system's memory to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: Path) -> None:
    with suppress(OSError):  # some network file systems cannot flush a folder
        flush_to_disk(path)
