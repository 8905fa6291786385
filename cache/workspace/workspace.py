"""The workspace: the folder of all artefacts. Only this module decides whether the folder mirrors a URL."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from cache.workspace.atomic_files import write_atomically
from cache.workspace.builders import alone_at_work, at_work, is_at_work
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import KINDS, Recipe
from cache.workspace.mirror import Mirror, publish_file, read_published_file, remove_published_file
from cache.workspace.process_lock import hold_lock
from cache.workspace.provenance import find_damaged, is_finished, read_provenance, write_provenance
from cache.workspace.publication import (
    fetch_artefact,
    prepare_staging,
    publish_artefact,
    set_checkpoints_aside,
    withdraw_if_damaged,
)
from cache.workspace.urls import check_protocol, is_url, resolve_address

logger = logging.getLogger(__name__)

_ORIGIN = ".origin"
"""Name of the file with the URL that a folder mirrors. It counts only where `Workspace.open` makes that URL's mirror:
another folder may come from elsewhere, and so would the URL."""


@dataclass(frozen=True)
class Workspace:
    """A folder of artefacts, each at `kind/key`; the folder may mirror a URL.

    Attributes:
        directory: Folder on this machine.
        mirror: Mirror of a URL; None: the folder mirrors no URL.
    """

    directory: Path
    mirror: Mirror | None = None

    @classmethod
    def open(cls, address: str | Path, mirrors: Path | None = None) -> "Workspace":
        """Returns the workspace at an address; for a URL, the folder of its mirror is made if it does not exist.

        Args:
            address: Path or URL of the workspace.
            mirrors: Folder that holds the mirrors; None: `birdclef` in the user's cache folder ($XDG_CACHE_HOME, else
                ~/.cache).

        Raises:
            ValueError: If the address is wrong.
            NotADirectoryError: If a file is at the address, or at a parent of it.
            ImportError: If the package for the URL's protocol is not installed.
        """
        address = resolve_address(str(address))
        if not is_url(address):
            path = Path(address)
            if (there := next(each for each in (path, *path.parents) if each.exists())).is_file():
                raise NotADirectoryError(f"The workspace {path} cannot be a folder, because {there} is a file.")
            return cls._in(path, mirrors)
        check_protocol(address)
        directory = _mirror_directory(address, mirrors)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / _ORIGIN).exists():
                write_atomically(directory / _ORIGIN, address)
        except OSError as error:
            raise OSError(
                f"The local copy of {address} cannot be written to {directory}: {error.strerror}. Set XDG_CACHE_HOME "
                "to a folder that can be written."
            ) from error
        return cls(directory, Mirror(directory, address))

    @classmethod
    def containing(cls, artefact: Path, mirrors: Path | None = None) -> "Workspace":
        """Returns the workspace of an artefact that a user names by its directory, `WORKSPACE/kind/key`.

        Args:
            artefact: Directory of the artefact.
            mirrors: As in `open`.
        """
        return cls._in(artefact.resolve().parent.parent, mirrors)

    @classmethod
    def _in(cls, directory: Path, mirrors: Path | None) -> "Workspace":
        origin = directory / _ORIGIN
        if not origin.is_file():
            return cls(directory)
        address = origin.read_text(errors="replace")
        if _is_mirror(directory, address, mirrors):
            return cls(directory, Mirror(directory, address))
        logger.warning(
            "%s is ignored, because this folder is not your own mirror of a URL. If you trust the URL, name it as the "
            "workspace.",
            origin,
        )
        return cls(directory)

    def address(self, path: Path | None = None) -> str:
        """Returns the address for other machines of a file or folder (None: the workspace): its URL, or its path."""
        path = self.directory if path is None else path
        return self.mirror.address(path) if self.mirror else str(path)

    def writable_address(self) -> str:
        """Returns `address()`, after the folder on this machine was made and a file was written into it.

        Raises:
            OSError: If nothing can be written there.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.directory):
                return self.address()
        except OSError as error:
            raise OSError(
                f"The workspace {self.directory} cannot be written: {error.strerror}. Name another folder by "
                "--workspace, or change the permissions of this one."
            ) from error

    def place(self, recipe: Recipe) -> Path:
        """Returns the directory of a recipe's artefact, whether it exists or not."""
        return self.directory / recipe.kind / recipe.key

    def artefact(self, kind: str, key: str) -> Path:
        """Returns the directory of an artefact; an artefact that is only at the URL is fetched.

        The artefact may not exist: `is_finished` is false then, and `read_provenance` raises an error.

        Raises:
            ValueError: If the key is no name of a folder, which happens only if somebody changed the artefact that
                names the key as its input.
        """
        if key in ("", ".", "..") or "/" in key:
            raise ValueError(
                f"{key!r} is no key of an artefact in {self.directory / kind}, so somebody changed an artefact that "
                "names it. Get the report or the run again from where it was made."
            )
        directory = self.directory / kind / key
        if not is_finished(directory):
            self.fetch(directory)
        return directory

    def artefacts(self, kind: str | None = None) -> Iterator[Path]:
        """Yields the directories of the finished artefacts on this machine, of one kind or of all, by kind and key."""
        for each in KINDS if kind is None else (kind,):
            folder = self.directory / each
            if folder.is_dir():
                yield from sorted(path for path in folder.iterdir() if is_finished(path))

    def feature_directory(self, key: str) -> FeatureDirectory:
        """Returns the directory of a feature store; if it is only at the URL, it is fetched without its strips."""
        return FeatureDirectory(self.artefact("features", key), self.mirror)

    def publish(self, path: Path, content: bytes) -> None:
        """Write a file of the workspace that is not part of an artefact, here and at the URL, if there is one."""
        publish_file(path, content, self.mirror)

    def read(self, path: Path) -> bytes | None:
        """Returns the content of a file that `publish` wrote; None if there is none."""
        return read_published_file(path, self.mirror)

    def remove(self, path: Path) -> None:
        """Remove a file that `publish` wrote, here and at the URL."""
        remove_published_file(path, self.mirror)

    def at_work(self) -> AbstractContextManager[None]:
        """Returns a context in which nobody removes anything here; any number of processes may build at once."""
        return at_work(self.directory)

    def alone_at_work(self) -> AbstractContextManager[None]:
        """Returns a context in which nobody builds here; it raises an AtWorkError if a process builds now."""
        return alone_at_work(self.directory)

    def is_at_work(self) -> bool:
        """Whether a process builds in the workspace now."""
        return is_at_work(self.directory)

    @property
    def staging(self) -> Path:
        """Folder of unfinished artefacts."""
        return self.directory / ".staging"

    def materialise(self, recipe: Recipe, build: Callable[[Path], None], *, resumable: bool = False) -> Path:
        """Returns the directory of the recipe's artefact; builds it if it is neither here nor at the URL.

        An artefact here whose files differ from their digests, as after a power failure, is removed and made again.
        The build writes into a staging directory that nobody reads, and one rename publishes it. A lock, which ends
        with its process, keeps a second builder of the same artefact waiting; the log says for which process it waits.

        Args:
            recipe: Recipe of the artefact.
            build: Writes the artefact's files into the directory that it is given.
            resumable: Whether the build starts with the files that a killed build left in staging; otherwise staging
                starts empty. Files below `CHECKPOINTS` are only for this, and no part of the artefact.
        """
        final = self.place(recipe)
        if is_finished(final) and not find_damaged(final):
            logger.info("%s/%s: from cache", recipe.kind, recipe.key)
            return final
        staging = self.staging / f"{recipe.kind}-{recipe.key}"
        staging.parent.mkdir(parents=True, exist_ok=True)
        with self.at_work(), hold_lock(Path(f"{staging}.lock"), f"{recipe.kind}/{recipe.key}"):
            if withdraw_if_damaged(final, self.staging) or self.fetch(final):
                shutil.rmtree(staging, ignore_errors=True)
                return final
            prepare_staging(staging, self.mirror, resumable=resumable)
            started = time.monotonic()
            build(staging)
            seconds = time.monotonic() - started
            checkpoints = set_checkpoints_aside(staging)
            numbers = (read_provenance(made).get("number", 0) for made in self.artefacts(recipe.kind))
            write_provenance(staging, recipe, seconds, number=1 + max(numbers, default=0))
            publish_artefact(staging, final, self.mirror)
            shutil.rmtree(checkpoints, ignore_errors=True)
        return final

    def keep_unfinished(self, staging: Path, *, last: str) -> None:
        """Send the present files of a resumable build to the URL, so that another machine can continue the build.

        Args:
            staging: Staging directory of the build.
            last: File that makes the others usable; it is sent last.
        """
        if self.mirror:
            self.mirror.send(staging, staging, last=last)

    def fetch(self, final: Path) -> bool:
        """Fetches an artefact from the URL; returns whether the artefact is finished on this machine now."""
        return self.mirror is not None and fetch_artefact(final, self.staging, self.mirror)


def _is_mirror(directory: Path, address: str, mirrors: Path | None) -> bool:
    """Whether a folder is where `Workspace.open` mirrors the URL that an origin file in the folder states."""
    try:
        stated = resolve_address(address)
        return is_url(stated) and _mirror_directory(stated, mirrors).resolve() == directory.resolve()
    except (ValueError, OSError):  # no URL, or no path
        return False


def _mirror_directory(url: str, mirrors: Path | None) -> Path:
    """Returns the folder that mirrors a URL; None as folder of the mirrors: the one in the user's cache folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (mirrors or Path(caches) / "birdclef") / url.replace("://", "/")
