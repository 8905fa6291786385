"""Runs an embedding model on one thread: turns windows of sound into embeddings and scores."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoding import UnusableAudioError
from cache.config.embedding_model import EmbeddingModel
from cache.config.features import EmbeddingConfig
from cache.front_end.tflite_outputs import replace_outputs
from cache.models.model_file import check_onnx, check_size, check_tflite
from cache.workspace.atomic_files import write_atomically
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import file_key

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the embeddings; raised by hand when the same audio, model and settings give other numbers."""

_LEAST_REST = 0.5
"""Least share of the last window that must be sound, as in BirdNET-Analyzer; a shorter rest is left out."""
_ONNX_EXTRA = "Embeddings by an ONNX model need onnxruntime. Run: pip install 'birdclef[onnx]'."
_TFLITE_EXTRA = "Embeddings by a TFLite model need ai-edge-litert. Run: pip install 'birdclef[birdnet]'."


class Runtime(Protocol):
    """A loaded model."""

    def __call__(self, windows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Returns the embeddings, (batch, channels), and the scores, (batch, labels), if the model has labels.

        Args:
            windows: Windows of sound, (batch, samples).
        """
        ...


class Embedder:
    """Turns waveforms into strips of embeddings."""

    def __init__(self, features: EmbeddingConfig, runtime: Runtime) -> None:
        self._features = features
        self._model = features.model
        self._runtime = runtime

    def embed(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yields the strip of a waveform in pieces, (windows, channels + scores).

        A window begins every `stride_samples`. The last window is filled with zeros. If less than half of it would be
        sound, it is left out, unless it is the only window.

        Args:
            pieces: Pieces of the waveform, (samples,) each.

        Raises:
            UnusableAudioError: With reason `non_finite`, if the model gives values that float16 cannot hold.
            ValueError: If the shape of an output differs from the model's description.
        """
        window, stride = self._model.window_samples, self._features.stride_samples
        pending = np.empty(0, np.float32)
        skip = windows = 0
        for piece in pieces:
            pending, skip = np.concatenate([pending, piece[skip:]]), max(0, skip - len(piece))
            if len(pending) < window:
                continue
            cut = np.lib.stride_tricks.sliding_window_view(pending, window)[::stride]  # (windows, samples)
            yield from self._run(cut)
            windows += len(cut)
            skip = max(0, len(cut) * stride - len(pending))
            pending = pending[len(cut) * stride :]
        rests: list[NDArray[np.float32]] = []
        while len(pending) >= max(_LEAST_REST * window, 1) or not windows + len(rests):
            rests.append(np.pad(pending[:window], (0, max(0, window - len(pending)))))
            pending = pending[stride:]
        if rests:
            yield from self._run(np.stack(rests))

    def _run(self, windows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        size = self._features.batch_windows
        widths = [self._model.channels, *([self._model.label_count] if self._model.label_count else [])]
        for first in range(0, len(windows), size):
            batch = np.ascontiguousarray(windows[first : first + size])  # (batch, samples)
            outputs = self._runtime(batch)
            for output, width in zip(outputs, widths, strict=True):
                if output.shape != (len(batch), width):
                    raise ValueError(
                        f"{self._model.name} gives {output.shape} for {len(batch)} windows, but its description "
                        f"states {(len(batch), width)}. Correct `channels`, `embedding`, `scores` or `labels` there."
                    )
            if len(outputs) > 1 and self._model.score_scale == "logits":
                outputs[1] = (1 / (1 + np.exp(-outputs[1]))).astype(np.float32)
            strip: NDArray[np.float32] = np.concatenate(outputs, axis=1, dtype=np.float32)
            peak, limit = np.abs(strip).max(), np.finfo(np.float16).max
            if not peak <= limit:  # or not a number
                detail = f"{self._model.name} gives values up to {peak:g}, and a strip holds {limit:g} at most"
                raise UnusableAudioError("non_finite", detail)
            yield strip


def keep_model(model: EmbeddingModel, store: FeatureDirectory) -> None:
    """Copy a model and its labels into its feature directory, where all workers and later predictions read them.

    A damaged copy is replaced.

    Raises:
        ValueError: If the digest of a file differs from the configuration.
    """
    logger.info("features: embeddings of %s, whose weights are licensed under %s", model.name, model.licence)
    for source, name, sha256 in _files(model):
        target = store.path / name
        if target.is_file() and file_key(target) == sha256:
            continue
        if not source or file_key(Path(source)) != sha256:
            raise ValueError(
                f"{source or target} is not the file of {model.name} that was configured: its sha256 is not {sha256}. "
                "Bring that file back."
            )
        store.publish(name, Path(source).read_bytes())


def copy_model(model: EmbeddingModel, store: FeatureDirectory, folder: Path) -> None:
    """Copy a model from its feature directory into another folder, from which `open_embedder` can load it.

    Raises:
        FileNotFoundError: If the directory holds no model.
    """
    source = store.fetch(f"model.{model.format}")
    logger.info("%s holds a copy of %s, whose weights are licensed under %s", folder, model.name, model.licence)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / source.name, source.read_bytes())


def labels_file(store: FeatureDirectory) -> Path:
    """Returns the path of the file of a feature directory that lists the labels of its model."""
    return store.fetch("labels.txt")


loaded: dict[EmbeddingModel, Runtime] = {}
"""Models that this process holds, whatever directory it took them from."""


def open_embedder(features: EmbeddingConfig, store: FeatureDirectory) -> Embedder:
    """Returns the embedder of a feature directory; each process loads a model once.

    Raises:
        FileNotFoundError: If the directory holds no model.
        ImportError: If the package that runs the model is not installed.
        ValueError: If the file is another model, is not readable, or lacks tensors that the description names.
    """
    model = features.model
    if model not in loaded:
        path = store.fetch(f"model.{model.format}")
        if file_key(path) != model.sha256:
            raise ValueError(f"{path} is not {model.name} with sha256 {model.sha256}. Bring that file back.")
        load = {"onnx": _load_onnx, "tflite": _load_tflite}[model.format]
        loaded[model] = load(model, path)
    return Embedder(features, loaded[model])


def _files(model: EmbeddingModel) -> list[tuple[str, str, str]]:
    """Returns source path, name in the store and sha256 of the files of a model."""
    files = [(model.file, f"model.{model.format}", model.sha256)]
    if model.labels_sha256:
        files.append((model.labels or "", "labels.txt", model.labels_sha256))
    return files


def _load_onnx(model: EmbeddingModel, path: Path) -> Runtime:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(_ONNX_EXTRA) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    check_onnx(path)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{path} is not a readable ONNX file ({type(error).__name__}: {error}).") from error
    known = [output.name for output in session.get_outputs()]
    wanted = _wanted(model, known)
    name = session.get_inputs()[0].name
    return lambda windows: list(session.run(wanted, {name: _shaped(windows, model)}))


def _load_tflite(model: EmbeddingModel, path: Path) -> Runtime:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(_TFLITE_EXTRA) from error
    check_size(path)
    content = path.read_bytes()
    check_tflite(path, content)
    try:
        tensors = {
            tensor["name"]: tensor["index"] for tensor in Interpreter(model_content=content).get_tensor_details()
        }
    except ValueError as error:
        raise ValueError(f"{path} is not a readable TFLite file ({error}).") from error
    wanted = [tensors[name] for name in _wanted(model, list(tensors))]
    interpreter = Interpreter(model_content=replace_outputs(content, wanted), num_threads=1)
    place = interpreter.get_input_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(windows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        nonlocal shape
        shaped = _shaped(windows, model)
        if shaped.shape != shape:
            interpreter.resize_tensor_input(place, shaped.shape)
            interpreter.allocate_tensors()
            shape = shaped.shape
        interpreter.set_tensor(place, shaped)
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(tensor)) for tensor in wanted]

    return run


def _wanted(model: EmbeddingModel, known: list[str]) -> list[str]:
    wanted = [model.embedding, *([model.scores] if model.scores else [])]
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"{model.name} has no tensor {name!r}; its last tensors are {', '.join(known[-5:])}. Correct "
                "`embedding` or `scores` in its description."
            )
    return wanted


def _shaped(windows: NDArray[np.float32], model: EmbeddingModel) -> NDArray[np.float32]:
    """Returns windows, (batch, samples), in the shape of the model's input."""
    batch, samples = windows.shape
    shapes = {
        "batch samples": (batch, samples),
        "batch 1 samples": (batch, 1, samples),
        "batch samples 1": (batch, samples, 1),
    }
    return windows.reshape(shapes[model.input])
