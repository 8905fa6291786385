"""The workspace: where all artefacts lie, and the only place that knows whether it mirrors a URL."""

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from cache.workspace.address import is_url, resolve_address
from cache.workspace.artefact import KINDS, PROVENANCE, Recipe, file_key, is_finished, write_provenance
from cache.workspace.atomic_files import write_atomically
from cache.workspace.builders import alone_at_work, at_work, is_at_work
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.mirror import Mirror, publish_file, read_published_file, remove_published_file

logger = logging.getLogger(__name__)

_ORIGIN = ".origin"


@dataclass(frozen=True)
class Workspace:
    """A folder of artefacts, each at `kind/key`, which may mirror a URL.

    Attributes:
        directory: The folder on this machine.
        mirror: The URL that it mirrors; None: it mirrors none.
    """

    directory: Path
    mirror: Mirror | None = None

    @classmethod
    def open(cls, address: str | Path, mirrors: Path | None = None) -> "Workspace":
        """Returns the workspace at an address; a folder that mirrors a URL is made if it does not exist.

        Args:
            address: Path or URL.
            mirrors: Folder of mirrors; None: `birdclef` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache).
        """
        address = resolve_address(str(address))
        if not is_url(address):
            return cls._in(Path(address))
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = (mirrors or Path(caches) / "birdclef") / address.replace("://", "/")
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / _ORIGIN).exists():
            write_atomically(directory / _ORIGIN, address)
        return cls._in(directory)

    @classmethod
    def containing(cls, artefact: Path) -> "Workspace":
        """Returns the workspace of an artefact that a user names by its directory, `WORKSPACE/kind/key`."""
        return cls._in(artefact.resolve().parent.parent)

    @classmethod
    def _in(cls, directory: Path) -> "Workspace":
        try:
            return cls(directory, Mirror(directory, (directory / _ORIGIN).read_text()))
        except FileNotFoundError:
            return cls(directory)

    def address(self, path: Path | None = None) -> str:
        """Returns where others find a file or folder of the workspace, or all of it: at the URL, or here."""
        path = self.directory if path is None else path
        return self.mirror.address(path) if self.mirror else str(path)

    def place(self, recipe: Recipe) -> Path:
        """Returns the directory where a recipe's artefact lies, once it is made."""
        return self.directory / recipe.kind / recipe.key

    def artefact(self, kind: str, key: str) -> Path:
        """Returns the directory of an artefact, fetched if only the URL has it.

        There may be no such artefact: `is_finished` tells, and `read_provenance` refuses.
        """
        directory = self.directory / kind / key
        if not is_finished(directory):
            self.fetch(directory)
        return directory

    def artefacts(self, kind: str | None = None) -> Iterator[Path]:
        """Yields every finished artefact on this machine, or those of one kind, by kind and then by key."""
        for each in KINDS if kind is None else (kind,):
            folder = self.directory / each
            if folder.is_dir():
                yield from sorted(path for path in folder.iterdir() if is_finished(path))

    def feature_directory(self, key: str) -> FeatureDirectory:
        """Returns the directory of a feature store, fetched (without its strips) if only the URL has it."""
        return FeatureDirectory(self.artefact("features", key), self.mirror)

    def publish(self, path: Path, content: bytes) -> None:
        """Write a file of the workspace that is not part of an artefact, here and at the URL."""
        publish_file(path, content, self.mirror)

    def read(self, path: Path) -> bytes | None:
        """Returns the content of such a file; None if there is none."""
        return read_published_file(path, self.mirror)

    def remove(self, path: Path) -> None:
        """Remove such a file, here and at the URL."""
        remove_published_file(path, self.mirror)

    def at_work(self) -> AbstractContextManager[None]:
        """Keeps others from removing anything while this process builds; any number may build at once."""
        return at_work(self.directory)

    def alone_at_work(self) -> AbstractContextManager[None]:
        """Keeps builders out; raises an AtWorkError if there is one."""
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

        `build` fills a staging directory that nobody reads; one rename publishes it. A lock that ends with its
        process keeps two builders apart. With `resumable` the next build finds what a killed build left in staging;
        otherwise staging starts empty.
        """
        final = self.place(recipe)
        if is_finished(final):
            return final
        staging = self.staging / f"{recipe.kind}-{recipe.key}"
        staging.parent.mkdir(parents=True, exist_ok=True)
        with self.at_work(), FileLock(f"{staging}.lock"):
            if is_finished(final) or self.fetch(final):
                shutil.rmtree(staging, ignore_errors=True)
                return final
            self._prepare(staging, resumable=resumable)
            started = time.monotonic()
            build(staging)
            write_provenance(staging, recipe, seconds=time.monotonic() - started)
            if self.mirror:
                self.mirror.send(staging, final, last=PROVENANCE)
                self.mirror.remove(staging)
            final.parent.mkdir(parents=True, exist_ok=True)
            _clear_remains(final)
            staging.rename(final)
        return final

    def keep_unfinished(self, staging: Path, *, last: str) -> None:
        """Send what a resumable build has so far to the URL, so that another machine can continue it.

        Args:
            staging: The build's staging directory.
            last: The file in it that makes the others usable.
        """
        if self.mirror:
            self.mirror.send(staging, staging, last=last)

    def _prepare(self, staging: Path, *, resumable: bool) -> None:
        """Empty the staging directory, or bring there, whole or not at all, what a killed build left at the URL."""
        if not resumable:
            shutil.rmtree(staging, ignore_errors=True)
        elif self.mirror and not staging.exists():
            incoming = staging.with_name(f"incoming-{staging.name}")
            shutil.rmtree(incoming, ignore_errors=True)
            self.mirror.fetch(staging, incoming, list(self.mirror.sizes(staging)))
            incoming.mkdir(exist_ok=True)
            incoming.rename(staging)
        staging.mkdir(exist_ok=True)

    def fetch(self, final: Path) -> bool:
        """Fetches an artefact from the URL; returns whether it is there and now here.

        An artefact whose files differ from the digests in its provenance counts as missing.
        """
        provenance = self.mirror.read(final / PROVENANCE) if self.mirror else None
        if self.mirror is None or provenance is None:
            return False
        incoming = self.staging / f"{final.parent.name}-{final.name}.{uuid.uuid4().hex}"
        try:
            incoming.mkdir(parents=True)
            digests: dict[str, str] = json.loads(provenance)["files"]
            self.mirror.fetch(final, incoming, list(digests))
            damaged = sorted(name for name, digest in digests.items() if file_key(incoming / name) != digest)
            if damaged:
                logger.warning("%s is damaged (%s): it is made again", self.address(final), ", ".join(damaged))
                return False
            (incoming / PROVENANCE).write_bytes(provenance)
            final.parent.mkdir(parents=True, exist_ok=True)
            _clear_remains(final)
            with suppress(OSError):  # another process fetched it meanwhile
                incoming.rename(final)
        except FileNotFoundError as error:
            logger.warning("%s is damaged (%s): it is made again", self.address(final), error)
            return False
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return is_finished(final)


def _clear_remains(final: Path) -> None:
    """Remove what an interrupted removal or copy left in the place of an artefact."""
    if not is_finished(final):
        shutil.rmtree(final, ignore_errors=True)
