"""Descriptions written by the tests, and the shipped one."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from cache.config.features import EmbeddingConfig, read_features
from cache.models.description import read_description


def test_files_lie_beside_the_description_and_count_by_their_content(tiny_model: Path) -> None:
    described = read_description(str(tiny_model))
    content = (tiny_model.parent / "tiny.onnx").read_bytes()
    assert described["file"] == str(tiny_model.parent / "tiny.onnx")
    assert (described["format"], described["sha256"]) == ("onnx", hashlib.sha256(content).hexdigest())
    assert described["label_count"] == 4


def test_model_is_told_apart_by_its_content_and_not_by_its_place(describe_tiny_model: Callable[..., Path]) -> None:
    first, other, changed = (
        EmbeddingConfig(kind="embedding", model=str(describe_tiny_model(**changes)))  # type: ignore[arg-type]
        for changes in ({}, {}, {"stride_seconds": 1.0})
    )
    assert first.model.file != other.model.file
    assert first.identity() == other.identity() != changed.identity()


def test_changed_file_gives_another_identity(describe_tiny_model: Callable[..., Path]) -> None:
    path = describe_tiny_model()
    before = read_description(str(path))["sha256"]
    with (path.parent / "tiny.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert read_description(str(path))["sha256"] != before


def test_unknown_description_is_refused_with_the_shipped_ones() -> None:
    with pytest.raises(ValueError, match=r"'birdnet' describes no model\. .*or birdnet_v2\.4"):
        read_description("birdnet")


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            {"package": "no_such_package", "file": "a.onnx"},
            r"no_such_package, which is not installed\. Run: pip install",
        ),
        ({"package": "this.x", "file": "a.onnx"}, r"package='this\.x' is not the name of a package"),
        ({"file": "gone.onnx"}, r"gone\.onnx: no such file"),
        (["file"], "must be a mapping with the key `file`"),
    ],
)
def test_description_without_its_model_is_refused(tmp_path: Path, description: object, message: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump(description))
    with pytest.raises(ValueError, match=message):
        read_description(str(path))


@pytest.mark.parametrize("weights", ["tiny.onnx.data", "tiny.onnx_data", "weights.bin"])
def test_onnx_model_with_weights_in_another_file_is_refused_until_all_are_in_one(
    describe_tiny_model: Callable[..., Path], weights: str
) -> None:
    description = describe_tiny_model()
    path = description.with_name("tiny.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(500, np.float32), "weights"))
    onnx.save(model, path, save_as_external_data=True, location=weights)
    assert path.with_name(weights).stat().st_size >= 2000
    with pytest.raises(ValueError, match=r"tiny\.onnx keeps weights in another .* onnx\.save\(onnx\.load\(path\)"):
        read_description(str(description))
    onnx.save(onnx.load(path), path)
    path.with_name(weights).unlink()
    assert read_description(str(description))["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_model_larger_than_its_format_holds_is_refused_unread(describe_tiny_model: Callable[..., Path]) -> None:
    description = describe_tiny_model()
    os.truncate(description.with_name("tiny.onnx"), 2**31)
    with pytest.raises(ValueError, match=r"tiny\.onnx has 2,147,483,648 bytes, but .* 2,147,483,647 at most"):
        read_description(str(description))


def test_artefact_that_names_a_file_in_place_of_a_description_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match=r"features\.model=.*tiny\.yaml of an artefact is no description"):
        read_features({"kind": "embedding", "model": str(tiny_model)})


def test_strips_of_embeddings_are_not_stored_in_steps_of_decibels(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="dtype"):
        EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model), "dtype": "uint8"})
