"""Strips of a small ONNX model are held against a plain loop over the windows."""

import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cache.config.features import EmbeddingConfig
from cache.front_end.embedding import Embedder, keep_model, labels_file, open_embedder
from cache.workspace.feature_directory import FeatureDirectory

WINDOW = 8000


def configure(description: Path, **settings: object) -> EmbeddingConfig:
    return EmbeddingConfig.model_validate({"kind": "embedding", "model": str(description), **settings})


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Embedder]:
    def open_it(description: Path, **settings: object) -> Embedder:
        features = configure(description, **settings)
        tmp_path.joinpath(features.model.sha256).mkdir(exist_ok=True)
        keep_model(features.model, FeatureDirectory(tmp_path / features.model.sha256))
        return open_embedder(features, FeatureDirectory(tmp_path / features.model.sha256))

    return open_it


def embed_plainly(waveform: NDArray[np.float32], stride: int) -> NDArray[np.float64]:
    """Returns root mean squares of the quarters of each window and the sigmoid of 10 times these minus 1."""
    rows = []
    for start in range(0, max(len(waveform), 1), stride):
        window = waveform[start : start + WINDOW]
        if rows and len(window) < WINDOW / 2:
            break
        filled = np.zeros(WINDOW)
        filled[: len(window)] = window
        quarters = [np.sqrt((filled[first : first + 2000] ** 2).mean()) for first in range(0, WINDOW, 2000)]
        rows.append([*quarters, *(1 / (1 + np.exp(1 - 10 * quarter)) for quarter in quarters)])
    return np.array(rows)


def make_sound(samples: int) -> NDArray[np.float32]:
    generator = np.random.default_rng(samples)
    return (generator.normal(0, 0.2, samples) * np.linspace(0.1, 1, samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 3999, 8000, 11_999, 12_000, 15_999, 16_000, 40_321])
@pytest.mark.parametrize("stride_seconds", [0.5, 1.0, 1.7])
def test_strip_has_a_row_for_each_window_of_which_half_is_there(
    opened: Callable[..., Embedder], tiny_model: Path, samples: int, stride_seconds: float
) -> None:
    waveform = make_sound(samples)
    strip = np.concatenate(list(opened(tiny_model, stride_seconds=stride_seconds).embed([waveform])))
    np.testing.assert_allclose(strip, embed_plainly(waveform, round(stride_seconds * 8000)), atol=1e-5)


@pytest.mark.parametrize("stride_seconds", [0.5, 1.7])
@pytest.mark.parametrize("cuts", [(1, 2, 3), (5000, 9000), (8000, 16_000, 24_000), (100, 30_000)])
def test_pieces_give_the_strip_of_the_whole(
    opened: Callable[..., Embedder], tiny_model: Path, cuts: Sequence[int], stride_seconds: float
) -> None:
    waveform, embedder = make_sound(31_000), opened(tiny_model, stride_seconds=stride_seconds)
    whole = np.concatenate(list(embedder.embed([waveform])))
    pieces = np.concatenate(list(embedder.embed(np.split(waveform, cuts))))
    np.testing.assert_array_equal(pieces, whole)


def test_windows_that_pass_together_give_what_they_give_alone(
    opened: Callable[..., Embedder], tiny_model: Path
) -> None:
    waveform = make_sound(60_000)
    alone, together = (list(opened(tiny_model, batch_windows=size).embed([waveform])) for size in (1, 4))
    assert [len(batch) for batch in alone[:4]] == [1, 1, 1, 1]
    assert len(together[0]) == 4
    np.testing.assert_allclose(np.concatenate(together), np.concatenate(alone), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"embedding": "middle"},
            "Tiny has no tensor 'middle'; its last tensors are embedding, scores. Correct `embedding`",
        ),
        (
            {"channels": 5},
            r"Tiny gives \(1, 4\) for 1 windows, but its description states \(1, 5\). Correct `channels`",
        ),
    ],
)
def test_model_that_is_not_as_described_is_refused(
    opened: Callable[..., Embedder],
    describe_tiny_model: Callable[..., Path],
    changes: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        list(opened(describe_tiny_model(**changes)).embed([make_sound(8000)]))


def test_model_without_labels_has_no_scores(
    opened: Callable[..., Embedder], describe_tiny_model: Callable[..., Path]
) -> None:
    embedder = opened(describe_tiny_model(scores=None, labels=None))
    assert np.concatenate(list(embedder.embed([make_sound(16_000)]))).shape == (4, 4)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "scores",
            "scores=None does not go with 4 labels, .* Give both `scores` and `labels` in the description of Tiny",
        ),
        ("labels", "scores=scores does not go with 0 labels"),
    ],
)
def test_scores_without_labels_or_labels_without_scores_are_refused(
    describe_tiny_model: Callable[..., Path], missing: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        configure(describe_tiny_model(**{missing: None}))


def test_store_keeps_the_model_mends_its_copy_and_refuses_another_one(
    tmp_path: Path, describe_tiny_model: Callable[..., Path]
) -> None:
    description = describe_tiny_model()
    model = configure(description).model
    keep_model(model, FeatureDirectory(tmp_path))
    copy, content = tmp_path / "model.onnx", (description.parent / "tiny.onnx").read_bytes()
    assert copy.read_bytes() == content
    assert labels_file(FeatureDirectory(tmp_path)).read_text().splitlines()[0] == "Troglodytes barensis_Some Bird"
    copy.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    keep_model(model, FeatureDirectory(tmp_path))
    assert copy.read_bytes() == content
    (description.parent / "tiny.onnx").write_bytes(b"another")
    keep_model(model, FeatureDirectory(tmp_path))  # it is there
    copy.unlink()
    with pytest.raises(ValueError, match=r"tiny\.onnx is not the file of Tiny that was configured"):
        keep_model(model, FeatureDirectory(tmp_path))


def test_store_without_its_model_is_named(tmp_path: Path, describe_tiny_model: Callable[..., Path]) -> None:
    features = configure(describe_tiny_model(name="Lost"))
    with pytest.raises(FileNotFoundError, match=r"model\.onnx is gone\. Run the features stage again"):
        open_embedder(features, FeatureDirectory(tmp_path))


@pytest.mark.parametrize(
    ("form", "package", "extra"), [("onnx", "onnxruntime", "onnx"), ("tflite", "ai_edge_litert", "birdnet")]
)
def test_missing_runtime_is_named_with_what_installs_it(
    form: str, package: str, extra: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = configure(tiny_model)
    model = features.model.model_copy(update={"name": "Homeless", "format": form})
    keep_model(model, FeatureDirectory(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    wanted = rf"{package.replace('_', '-')}\. Run: pip install 'birdclef\[{extra}\]'"
    with pytest.raises(ImportError, match=wanted) as caught:
        open_embedder(features.model_copy(update={"model": model}), FeatureDirectory(tmp_path))
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args  # workers send it


def test_another_model_in_the_place_of_the_described_one_is_refused(
    tmp_path: Path, describe_tiny_model: Callable[..., Path]
) -> None:
    features = configure(describe_tiny_model(name="Swapped"))
    keep_model(features.model, FeatureDirectory(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"model\.onnx is not Swapped with sha256 [0-9a-f]{64}\. Bring that file back"):
        open_embedder(features, FeatureDirectory(tmp_path))
