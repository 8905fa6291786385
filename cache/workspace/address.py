"""Reads and writes files by address: a path of this machine, or an fsspec URL such as s3://bucket/folder."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

_TRANSFERS = 16
"""Number of transfers at the same time; a request to an object store mostly waits."""

_LOCAL = "file://"
_OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_url(address: str) -> bool:
    """Whether an address is a URL and not a path."""
    return "://" in address


def resolve_address(address: str) -> str:
    """Returns the absolute path, or the URL without a slash at its end; a file:// URL becomes a path."""
    if is_url(address) and not address.startswith(_LOCAL):
        return address.rstrip("/")
    return str(Path(address.removeprefix(_LOCAL)).resolve())


def read_bytes(address: str) -> bytes:
    """Returns a file's content.

    Raises:
        OSError: If the file cannot be read.
        ConnectionError: If the URL cannot be reached.
    """
    if not is_url(address):
        return Path(address).read_bytes()
    with _reaching(address) as (filesystem, path):
        return bytes(filesystem.cat_file(path))


def write_bytes(url: str, content: bytes) -> None:
    """Write a file at a URL in one piece: afterwards the file is complete, or unchanged if the write failed."""
    with _reaching(url) as (filesystem, path):
        filesystem.pipe_file(path, content)


def upload(source: Path, url: str) -> None:
    """Copy a file of this machine to a URL, where it appears complete or not at all."""
    with _reaching(url) as (filesystem, path):
        filesystem.put_file(str(source), path)


def download(url: str, target: Path) -> None:
    """Copy the file at a URL to this machine, where it appears complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with _reaching(url) as (filesystem, path):
        filesystem.get_file(path, str(partial))
    partial.replace(target)


def remove(url: str) -> None:
    """Remove all files at a URL and below it."""
    with _reaching(url) as (filesystem, path):
        if filesystem.exists(path):
            filesystem.rm(path, recursive=True)


def list_files(url: str) -> dict[str, tuple[int, str]]:
    """Returns size in bytes and version of every file below a URL, by relative path.

    The version is a hash of all that the store lists about the file (entity tag, time, ...), so it changes with the
    content.
    """
    with _reaching(url) as (filesystem, path):
        found = filesystem.find(path, detail=True)
    prefix = f"{path.rstrip('/')}/"
    return {
        name.removeprefix(prefix): (
            int(entry["size"]),
            hashlib.sha256(repr(sorted(entry.items())).encode()).hexdigest(),
        )
        for name, entry in found.items()
        if name.startswith(prefix) and not name.endswith("/")
    }


def transfer(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Returns the function's result for each item, in order; several calls run at once, because each mostly waits."""
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        return list(pool.map(function, items))


@contextmanager
def _reaching(url: str) -> Iterator[tuple[Any, str]]:
    """Yields file system and path of a URL; errors of the file system become OSErrors that name the URL.

    Raises:
        ImportError: If the package for the URL's protocol is not installed.
        ValueError: If the protocol is unknown.
        OSError: If the file system fails; FileNotFoundError, PermissionError or ConnectionError where these fit.
    """
    # Imported here so that programs with local files only do not load it.
    import fsspec

    protocol = url.partition("://")[0]
    try:
        # a remembered listing would be wrong, because other processes write there too
        filesystem, path = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise ImportError(f"{url}: {error}. For s3:// run `pip install 'birdclef[s3]'`.") from error
    except ValueError as error:
        raise ValueError(f"{url}: {error}. Use a path, or a URL such as s3://bucket/folder.") from error
    try:
        yield filesystem, path
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{url}: there is no such file ({error}).") from error
    except PermissionError as error:
        raise PermissionError(f"{url}: {error}. Check the credentials{_settings_of(protocol)}.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
            raise
        raise ConnectionError(
            f"{url} cannot be reached ({type(error).__name__}: {error}). Check the network, the address and the "
            f"credentials{_settings_of(protocol)}, and run again."
        ) from error


def _settings_of(protocol: str) -> str:
    if protocol != "s3":
        return ""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "not set, so Amazon's")
    return f" (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL: {endpoint})"
