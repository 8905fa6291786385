"""A folder of this machine that mirrors an fsspec URL.

A program works on a workspace at a URL through such a folder. New files are sent to the URL before they count: first
the files of an artefact or a part, then, by a single PUT, the one file that makes the artefact or part exist
(`provenance.json`, the index fragment). Files that are needed are fetched once and checked against their digests.
Artefacts and parts never change, so a copy never becomes outdated.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cache.workspace.atomic_files import write_atomically
from cache.workspace.urls import download, list_files, read_bytes, remove, transfer, upload, write_bytes


@dataclass(frozen=True)
class Mirror:
    """A folder of this machine and the URL that it mirrors.

    Attributes:
        directory: Folder on this machine.
        url: URL of the workspace.
    """

    directory: Path
    url: str

    def address(self, path: Path) -> str:
        """Returns the URL of a file or folder below the directory."""
        relative = path.relative_to(self.directory).as_posix()
        return self.url if relative == "." else f"{self.url}/{relative}"

    def sizes(self, folder: Path) -> dict[str, int]:
        """Returns the size in bytes of every file at the URL below a folder, by path relative to the folder.

        Raises:
            ValueError: If a name leads out of the folder, as in `fetch`.
        """
        sizes = {name: size for name, (size, _) in list_files(self.address(folder)).items()}
        self._refuse_names_outside(folder, sizes)
        return sizes

    def read(self, path: Path) -> bytes | None:
        """Returns the content of the file at the URL for a path; None if there is no such file."""
        try:
            return read_bytes(self.address(path))
        except FileNotFoundError:
            return None

    def write(self, path: Path, content: bytes) -> None:
        """Write a file at the URL, complete or not at all."""
        write_bytes(self.address(path), content)

    def send(self, source: Path, target: Path, *, last: str = "") -> None:
        """Copy the files of the folder `source` to the URL of the folder `target`, the file `last` after all others."""
        names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file()]
        there = self.address(target)
        transfer(lambda name: upload(source / name, f"{there}/{name}"), [name for name in names if name != last])
        if last in names:
            upload(source / last, f"{there}/{last}")

    def fetch(self, source: Path, target: Path, names: list[str]) -> None:
        """Copy the files `names` from the URL of the folder `source` into the folder `target` of this machine.

        Raises:
            ValueError: If a name leads out of the folder, which happens only if somebody changed the list of files.
        """
        there = self.address(source)
        self._refuse_names_outside(source, names)
        transfer(lambda name: download(f"{there}/{name}", target / name), names)

    def remove(self, path: Path) -> None:
        """Remove the file or folder at the URL for a path."""
        remove(self.address(path))

    def _refuse_names_outside(self, folder: Path, names: Iterable[str]) -> None:
        for name in names:
            if name.startswith("/") or ".." in name.split("/"):
                there = self.address(folder)
                raise ValueError(
                    f"{there} lists a file {name!r} that lies outside of it, so somebody changed the list. Remove "
                    f"{there} and check who may write to {self.url}."
                )


def publish_file(path: Path, content: bytes, mirror: Mirror | None) -> None:
    """Write a file that other processes read: first at the URL, if there is one, then here; complete or not at all."""
    if mirror:
        mirror.write(path, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def read_published_file(path: Path, mirror: Mirror | None) -> bytes | None:
    """Returns the content of a published file, from the URL if there is one; None if there is no such file."""
    if mirror:
        return mirror.read(path)
    return path.read_bytes() if path.is_file() else None


def remove_published_file(path: Path, mirror: Mirror | None) -> None:
    """Remove a published file, here and at the URL."""
    if mirror:
        mirror.remove(path)
    path.unlink(missing_ok=True)
