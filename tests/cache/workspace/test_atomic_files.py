import hashlib
import json
from pathlib import Path

import pytest

from cache.workspace.atomic_files import write_atomically


def test_atomic_write_replaces_the_text_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_atomically(path, json.dumps({"a": 1}))
    write_atomically(path, "second")
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(b"second").digest()
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.json"]


def test_failed_atomic_write_keeps_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_atomically(path, "first")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "second \ud800")  # a lone surrogate has no UTF-8
    assert path.read_text() == "first"
