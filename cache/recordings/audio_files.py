"""Finds the files in a folder or at a URL: by the same rules for a data set, a background and a prediction."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cache.audio.containers import AUDIO_SUFFIXES
from cache.workspace.urls import is_url, list_files

_NAMED = 3
"""Largest number of files that a message names."""


@dataclass(frozen=True)
class FoundFiles:
    """What lies below a folder or URL.

    Attributes:
        files: Size in bytes and version of every regular file that is not hidden, by relative POSIX path. The version
            changes with the content. It is the modification time in ns, or a hash of an object store's entry.
        hidden: Number of files and folders whose name begins with a dot; hidden folders are not entered.
        special: FIFOs, sockets and devices, by relative path; to open one could block for ever.
        unreadable: Folders that could not be listed, and files that could not be looked at, by relative path.
    """

    files: dict[str, tuple[int, str]]
    hidden: int = 0
    special: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def audio(self) -> list[str]:
        """Returns the relative paths of the files that are audio by their suffix, sorted."""
        return sorted(name for name in self.files if is_audio_name(name))

    def describe_passed_over(self) -> str:
        """Returns what `audio` leaves out, counted by suffix; an empty text if it leaves out nothing."""
        others = Counter(suffix_of(name) or "without suffix" for name in self.files if not is_audio_name(name))
        told = [f"{count} {suffix}" for suffix, count in sorted(others.items(), key=lambda one: (-one[1], one[0]))]
        told += [f"{self.hidden} hidden"] if self.hidden else []
        told += [f"{len(self.special)} FIFO, socket or device ({_name_some(self.special)})"] if self.special else []
        told += [f"{len(self.unreadable)} unreadable ({_name_some(self.unreadable)})"] if self.unreadable else []
        return ", ".join(told)


def scan_audio(directory: str) -> FoundFiles:
    """Returns what lies below a folder or URL; nothing if it does not exist.

    Hidden files and folders, whose name begins with a dot, are left out: systems keep resource forks (`._x.wav`) and
    deleted files (`.Trash-1000`) there. Links are followed. A folder is searched once: a link to a folder that lies
    below the directory itself, or that another link leads to, adds nothing.
    """
    if is_url(directory):
        listed = list_files(directory)
        shown = {name: entry for name, entry in listed.items() if not is_hidden(name)}
        return FoundFiles(shown, hidden=len(listed) - len(shown))
    files: dict[str, tuple[int, str]] = {}
    kinds: dict[str, list[str]] = {"hidden": [], "special": [], "unreadable": []}
    for name, kind, status in _walk(directory):
        if kind == "file" and status:
            files[name] = (status.st_size, str(status.st_mtime_ns))
        else:
            kinds[kind].append(name)
    return FoundFiles(files, len(kinds["hidden"]), tuple(sorted(kinds["special"])), tuple(sorted(kinds["unreadable"])))


def holds_audio(folder: Path) -> bool:
    """Whether any file below a folder is audio by its suffix; hidden ones do not count."""
    return any(kind == "file" and is_audio_name(name) for name, kind, _ in _walk(str(folder)))


def is_audio_name(name: str) -> bool:
    """Whether a file's name has the suffix of an audio file."""
    return suffix_of(name) in AUDIO_SUFFIXES


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8; old archives and other systems leave names in other encodings."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits_table(name: str) -> bool:
    """Whether a CSV table can hold a file's name: it is UTF-8, and has no line end that readers split rows at."""
    return is_text(name) and "\r" not in name


def suffix_of(name: str) -> str:
    """Returns the suffix of a file's name in lower case, such as `.wav`; empty if it has none."""
    return PurePosixPath(name).suffix.lower()


def is_hidden(name: str) -> bool:
    """Whether a file or one of the folders on its path has a name that begins with a dot."""
    return any(part.startswith(".") and part not in (".", "..") for part in PurePosixPath(name).parts)


def _walk(directory: str) -> Iterator[tuple[str, str, os.stat_result | None]]:
    """Yields relative path and kind (file, hidden, special, unreadable) of what lies below a folder; the stat of files.

    Folders come before links to folders, so that a file has the same path on every machine.
    """
    pending, linked = [(directory, "")], list[tuple[str, str]]()
    seen = set()  # a link may lead back to a folder above, which would never end
    while pending or linked:
        folder, prefix = pending.pop() if pending else linked.pop(linked.index(min(linked)))
        if (identity := os.path.realpath(folder)) in seen:
            continue
        seen.add(identity)
        entries = _list_folder(folder)
        if entries is None:
            yield prefix or ".", "unreadable", None
        for entry in entries or ():
            name = f"{prefix}{entry.name}"
            kind, status = _judge(entry)
            if kind == "folder":
                (linked if entry.is_symlink() else pending).append((entry.path, f"{name}/"))
            elif kind:
                yield name, kind, status


def _list_folder(folder: str) -> list[os.DirEntry[str]] | None:
    """Returns what a folder holds, by name; nothing if it does not exist, and None if it cannot be read."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return None


def _judge(entry: os.DirEntry[str]) -> tuple[str, os.stat_result | None]:
    """Returns an entry's kind (hidden, folder, file, special, unreadable), and its stat; none for a dead link."""
    if entry.name.startswith("."):
        return "hidden", None
    try:
        status = entry.stat()
    except OSError as error:
        return "" if error.errno in (errno.ENOENT, errno.ELOOP) else "unreadable", None
    if stat.S_ISDIR(status.st_mode):
        return "folder", status
    return "file" if stat.S_ISREG(status.st_mode) else "special", status


def _name_some(names: tuple[str, ...]) -> str:
    more = ", ..." if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
