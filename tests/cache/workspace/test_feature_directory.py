from pathlib import Path

import pytest

from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace


def test_a_file_of_a_store_is_fetched_from_the_url_once(tmp_path: Path, bucket_url: str) -> None:
    first, second = (
        Workspace.open(bucket_url, tmp_path / name).feature_directory("0123") for name in ("first", "second")
    )
    assert (first.key, first.address) == ("0123", f"{bucket_url}/features/0123")
    first.publish("labels.txt", b"wren")
    assert not (second.path / "labels.txt").exists()
    assert second.fetch("labels.txt").read_bytes() == b"wren"
    assert (second.path / "labels.txt").read_bytes() == b"wren"


def test_a_file_that_is_nowhere_is_named(tmp_path: Path) -> None:
    store = FeatureDirectory(tmp_path / "features" / "0123")
    assert store.address == str(tmp_path / "features" / "0123")
    with pytest.raises(FileNotFoundError, match=r"model\.onnx is gone"):
        store.fetch("model.onnx")
