"""A workspace at an fsspec URL, worked on through a directory of this machine that mirrors it.

What is made here is sent there before it counts: first its files, at last the one that makes it exist (an artefact's
`provenance.json`, a part's index fragment), by a single PUT. What is needed is fetched once, checked against its
digests. Artefacts and parts never change, so a copy is never stale.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cache.workspace.address import (
    download,
    is_url,
    list_files,
    read_bytes,
    remove,
    resolve_address,
    transfer,
    upload,
    write_bytes,
)

_ORIGIN = ".origin"


@dataclass(frozen=True)
class Mirror:
    """A directory and the URL that it mirrors.

    Attributes:
        directory: Workspace on this machine.
        url: Workspace that it mirrors.
    """

    directory: Path
    url: str

    @classmethod
    def of(cls, workspace: Path) -> "Mirror | None":
        """Returns the mirror that a workspace is, if it is one."""
        try:
            return cls(workspace, (workspace / _ORIGIN).read_text())
        except FileNotFoundError:
            return None

    @classmethod
    def of_store(cls, store: Path) -> "Mirror | None":
        """Returns the mirror that a feature directory lies in, if it lies in one."""
        return cls.of(store.parent.parent)

    def address(self, path: Path) -> str:
        """Returns the URL of a file or folder of the directory."""
        relative = path.relative_to(self.directory).as_posix()
        return self.url if relative == "." else f"{self.url}/{relative}"

    def sizes(self, folder: Path) -> dict[str, int]:
        """Returns the size of every file that the URL has below a folder, by relative path."""
        return {name: size for name, (size, _) in list_files(self.address(folder)).items()}

    def read(self, path: Path) -> bytes | None:
        """Returns the content of the file that the URL has for a path, if it has one."""
        try:
            return read_bytes(self.address(path))
        except FileNotFoundError:
            return None

    def write(self, path: Path, content: bytes) -> None:
        """Write a file at the URL, whole or not at all."""
        write_bytes(self.address(path), content)

    def send(self, source: Path, target: Path, *, last: str = "") -> None:
        """Copy a folder of this machine to where the URL has `target`, the file `last` after all others."""
        names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file()]
        there = self.address(target)
        transfer(lambda name: upload(source / name, f"{there}/{name}"), [name for name in names if name != last])
        if last in names:
            upload(source / last, f"{there}/{last}")

    def fetch(self, source: Path, target: Path, names: list[str]) -> None:
        """Copy files of the folder that the URL has for `source` into the folder `target`.

        Raises:
            ValueError: If a name leads out of the folder, as only a tampered list of files can.
        """
        there = self.address(source)
        for name in names:
            if not (target / name).resolve().is_relative_to(target.resolve()):
                raise ValueError(
                    f"{there} lists a file {name!r}, which lies outside of it. Remove it there, and see who else may "
                    f"write to {self.url}."
                )
        transfer(lambda name: download(f"{there}/{name}", target / name), names)

    def remove(self, path: Path) -> None:
        """Remove what the URL has for a path, a file or a folder."""
        remove(self.address(path))


def open_workspace(address: str, mirrors: Path | None = None) -> Path:
    """Returns the directory of a workspace: its own, or the one that mirrors its URL, made if it does not exist.

    Args:
        address: Path or URL.
        mirrors: Folder of mirrors; none: `birdclef` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache).
    """
    address = resolve_address(address)
    if not is_url(address):
        return Path(address)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = (mirrors or Path(caches) / "birdclef") / address.replace("://", "/")
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / _ORIGIN
    if not marker.exists():
        partial = marker.with_name(f"{_ORIGIN}.{os.getpid()}")
        partial.write_text(address)
        partial.replace(marker)
    return directory


def published_address(path: Path, workspace: Path) -> str:
    """Returns where others find a file or folder of a workspace: at the URL that it mirrors, or here."""
    mirror = Mirror.of(workspace)
    return mirror.address(path) if mirror else str(path)
