"""Addresses as users write them; buckets are in tests/cache/test_s3.py."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.models.yaml_text import read_yaml
from cache.workspace.file_format import FileFormat
from cache.workspace.urls import check_protocol, read_bytes, read_named, resolve_address


def test_path_is_absolute_and_its_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert resolve_address("a/../b") == str(tmp_path / "b")
    assert resolve_address("~/b") == str(tmp_path / "home" / "b")
    assert resolve_address("./~/b") == str(tmp_path / "~" / "b")
    assert resolve_address("./s3:/b") == str(tmp_path / "s3:" / "b")


@pytest.mark.parametrize("name", ["plain", "mv x", "50%25", "a#b?c", "ä"])
def test_url_of_a_local_file_is_its_path(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert resolve_address(path.as_uri()) == str(path)
    assert resolve_address(path.as_uri().replace("file://", "file://localhost")) == str(path)


def test_url_of_a_bucket_loses_the_slash_at_its_end() -> None:
    assert resolve_address("s3://bucket/folder/") == "s3://bucket/folder"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("s3:", "incomplete URL"),
        ("s3://", "incomplete URL"),
        ("s3:/bucket", "incomplete URL"),
        ("file:/folder", "incomplete URL"),
        ("s3:///folder", "no bucket"),
        ("s3://bucket/../..", "leads out of it"),
        ("memory://folder", "other processes cannot see the memory"),
        ("file://host/folder", "does not name a file of this machine"),
        ("~no-such-user/folder", "there is no such user"),
    ],
)
def test_address_that_cannot_work_is_refused(address: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        resolve_address(address)


@pytest.mark.parametrize(
    "url",
    [
        "nosuch://x",
        "dask://scheduler/x",  # unpickles what the scheduler answers
        "reference://x",  # reads a file that names further addresses
        "simplecache::s3://bucket/x",
        "github://owner:repository@/x",
        "local:///etc/passwd",
    ],
)
def test_only_protocols_of_plain_stores_are_opened(url: str) -> None:
    told = rf"^{re.escape(url)}: birdclef opens no .* Use a path, or a URL such as s3://bucket/folder with one of .*s3a"
    for open_url in (check_protocol, read_bytes):
        with pytest.raises(ValueError, match=told):
            open_url(url)


@pytest.mark.parametrize("open_url", [check_protocol, read_bytes])
def test_password_in_a_url_is_refused_and_not_repeated(open_url: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"^sftp://anna:…@host/x holds a password.*FSSPEC_SFTP_PASSWORD") as told:
        open_url("sftp://anna:s3cret@host/x")
    assert "s3cret" not in str(told.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "read",
    [lambda path: read_named(str(path)), read_yaml, FileFormat(1, frozenset(), "").read],
    ids=["table", "YAML", "JSON"],
)
@pytest.mark.parametrize("kind", ["FIFO", "device", "link to a device"])
def test_what_is_no_regular_file_is_never_opened(read: Callable[[Path], object], kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match=f"{path} is a FIFO, a socket or a device, which is never opened"):
        read(path)
