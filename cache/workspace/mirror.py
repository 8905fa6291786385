"""A folder of this machine that mirrors an fsspec URL.

A workspace at a URL is worked on through such a folder. Files that are made here are sent to the URL before they count:
first the files of an artefact or a part, then the one file that makes it exist (`provenance.json`, the index fragment),
by a single PUT. Files that are needed are fetched once and checked against their digests. Artefacts and parts never
change, so a copy is never stale.
"""

from dataclasses import dataclass
from pathlib import Path

from cache.workspace.address import download, list_files, read_bytes, remove, transfer, upload, write_bytes
from cache.workspace.atomic_files import write_atomically


@dataclass(frozen=True)
class Mirror:
    """A folder of this machine and the URL that it mirrors.

    Attributes:
        directory: The folder.
        url: The workspace that it mirrors.
    """

    directory: Path
    url: str

    def address(self, path: Path) -> str:
        """Returns the URL of a file or folder below the directory."""
        relative = path.relative_to(self.directory).as_posix()
        return self.url if relative == "." else f"{self.url}/{relative}"

    def sizes(self, folder: Path) -> dict[str, int]:
        """Returns the size of every file that the URL has below a folder, by relative path."""
        return {name: size for name, (size, _) in list_files(self.address(folder)).items()}

    def read(self, path: Path) -> bytes | None:
        """Returns the content of the file that the URL has for a path; None if it has no such file."""
        try:
            return read_bytes(self.address(path))
        except FileNotFoundError:
            return None

    def write(self, path: Path, content: bytes) -> None:
        """Write a file at the URL, whole or not at all."""
        write_bytes(self.address(path), content)

    def send(self, source: Path, target: Path, *, last: str = "") -> None:
        """Copy a folder of this machine to the URL's place for `target`, the file `last` after all others."""
        names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file()]
        there = self.address(target)
        transfer(lambda name: upload(source / name, f"{there}/{name}"), [name for name in names if name != last])
        if last in names:
            upload(source / last, f"{there}/{last}")

    def fetch(self, source: Path, target: Path, names: list[str]) -> None:
        """Copy files from the URL's place for `source` into the folder `target`.

        Raises:
            ValueError: If a name leads out of the folder; only a list of files that somebody changed does that.
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
        """Remove the URL's file or folder for a path."""
        remove(self.address(path))


def publish_file(path: Path, content: bytes, mirror: Mirror | None) -> None:
    """Write a file that others read: at the URL first, if there is one, then here, each whole or not at all."""
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
