"""Reads and writes files by address: a path of this machine, or an fsspec URL such as s3://bucket/folder."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from cache.workspace.atomic_files import replace_atomically

_TRANSFERS = 16
"""Number of transfers at the same time; a request to an object store mostly waits."""

_LOCAL = "file://"
PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "hdfs", "sftp", "ssh", "smb")
"""Protocols of the URLs that are read and written. All of them store files and give back their bytes. Other protocols
of fsspec unpickle what a server answers (dask), read a file that names further addresses (reference), or wrap another
URL (simplecache::)."""
_HALF_A_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/*$|[A-Za-z][A-Za-z0-9+.-]+:/[^/]")
"""Start of a path that was meant as a URL, such as `s3:/bucket`."""
_OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_url(address: str) -> bool:
    """Whether an address is a URL and not a path."""
    return "://" in address


def resolve_address(address: str) -> str:
    """Returns the absolute path, or the URL without a slash at its end; a file:// URL becomes a path.

    Raises:
        ValueError: If the address is empty, or a URL has no bucket, leads out of its bucket, or names a memory.
    """
    if not address.strip():
        raise ValueError(f"The address {address!r} is empty. Name a folder, or a URL such as s3://bucket/folder.")
    if address.startswith(_LOCAL):
        return str(_read_file_url(address).resolve())
    if _HALF_A_URL.match(address):
        raise ValueError(f"The address {address!r} is an incomplete URL. Write it as s3://bucket/folder.")
    if not is_url(address):
        return str(expand_home(address).resolve())
    protocol, _, path = address.partition("://")
    if protocol == "memory":
        raise ValueError(f"{address}: other processes cannot see the memory of this one. Name a folder.")
    if not path.split("/")[0] or ".." in path.split("/"):
        raise ValueError(
            f"The address {address!r} has no bucket, or leads out of it. Write it as {protocol}://bucket/folder."
        )
    return address.rstrip("/")


def _read_file_url(url: str) -> Path:
    """Returns the path of a file:// URL, which may escape characters as %20, as `Path.as_uri` writes it."""
    path = unquote(url.removeprefix(_LOCAL).removeprefix("localhost"))
    if not path.startswith("/"):
        raise ValueError(f"{url} does not name a file of this machine. Write three slashes: file:///folder.")
    return Path(path)


def expand_home(path: str | Path) -> Path:
    """Returns a path that a user names, with the home folder in place of a `~` at its start.

    Raises:
        ValueError: If there is no such user.
    """
    text = str(path)
    try:
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError as error:
        raise ValueError(f"{text}: there is no such user. Write the whole path, or ./{text}.") from error


def check_protocol(url: str) -> None:
    """Refuse a URL that no installed package reads; does not connect.

    Raises:
        ImportError: If the package for the URL's protocol is not installed.
        ValueError: If the protocol is not one of `PROTOCOLS`, or the URL holds a password.
    """
    with _reaching(url):
        pass


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


def read_file(path: Path) -> bytes:
    """Returns the content of a file on this machine.

    Raises:
        OSError: If the file cannot be read, or is a FIFO, a socket or a device: to open one could block for ever.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(f"{path} is a FIFO, a socket or a device, which is never opened. Put a regular file there.")
    return path.read_bytes()


def read_named(address: str) -> bytes:
    """Returns the content of a file or URL that a user names; errors as of `read_bytes` and `read_file`."""
    return read_bytes(address) if is_url(address) else read_file(Path(address))


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
    with replace_atomically(target) as partial, _reaching(url) as (filesystem, path):
        filesystem.get_file(path, str(partial))


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
        ValueError: If the protocol is not one of `PROTOCOLS`, or the URL holds a password.
        OSError: If the file system fails; FileNotFoundError, PermissionError or ConnectionError where these fit.
    """
    protocol = url.partition("://")[0]
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"{url}: birdclef opens no {protocol}:// URLs. Use a path, or a URL such as s3://bucket/folder with one of "
            f"the protocols {', '.join(PROTOCOLS)}."
        )
    if password := urlsplit(url).password:
        raise ValueError(
            f"{url.replace(f':{password}@', ':…@')} holds a password, which would stand in logs, artefacts and "
            f"names of folders. Leave it out, and set FSSPEC_{protocol.upper()}_PASSWORD, or use a key."
        )
    # Imported here so that programs with local files only do not load it.
    import fsspec

    try:
        # a remembered listing would be wrong, because other processes write there too
        filesystem, path = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise ImportError(f"{url}: {error}. For s3:// run `pip install 'birdclef[s3]'`.") from error
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
