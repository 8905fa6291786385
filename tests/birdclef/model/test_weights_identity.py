"""What of `model.weights` stands in a recipe."""

import hashlib
from pathlib import Path

import pytest

from birdclef.model.weights_identity import identify_weights, weights_file


@pytest.mark.parametrize("weights", ["none", "hub"])
def test_word_stands_for_itself_without_an_input(weights: str) -> None:
    assert identify_weights(weights) == (weights, {})


def test_local_file_counts_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    files = [tmp_path / "a.safetensors", tmp_path / "b.bin"]
    for path in files:
        path.write_bytes(b"weights")
    assert identify_weights(str(files[0])) == ("local", {"weights": hashlib.sha256(b"weights").hexdigest()})
    assert identify_weights(str(files[1])) == identify_weights(str(files[0]))


def test_home_of_a_local_file_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.bin").write_bytes(b"weights")
    assert identify_weights("~/a.bin") == ("local", {"weights": hashlib.sha256(b"weights").hexdigest()})
    assert weights_file("~/a.bin") == tmp_path / "a.bin"


def test_missing_file_is_named_with_what_may_be_given(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.weights=.*gone\.bin is no file\. .*`none`, `hub`"):
        identify_weights(str(tmp_path / "gone.bin"))
