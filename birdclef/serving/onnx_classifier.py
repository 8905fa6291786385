"""An exported model in ONNX Runtime."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics.classification import Floats
from birdclef.serving.windows import PLAIN_THRESHOLD, Grid, Window, cut_windows
from cache.audio.decoded_length import Heard
from cache.audio.streaming import stream_waveform
from cache.config.features import FeatureConfig, read_features
from cache.front_end.kinds import stream_strip
from cache.workspace.feature_directory import FeatureDirectory

METADATA = "birdclef"
"""Key of the file's metadata that holds run, input, species, sample_rate, clip_seconds and features as JSON."""
_BATCH_WINDOWS = 16


@dataclass(frozen=True)
class OnnxClassifier:
    """One model that takes waveforms, or embeddings.

    Attributes:
        session: Of ONNX Runtime.
        species: Species codes in the order of class indices.
        features: The front end: a log-mel inside the model, or an embedding model beside it.
        folder: Where the embedding model lies.
        clip_seconds: Length of a window.
        thresholds: From which probability each species is said to be present, (classes,).
    """

    session: Any
    species: Sequence[str]
    features: FeatureConfig
    folder: FeatureDirectory
    clip_seconds: float
    thresholds: Floats

    def classify(self, recording: Path, heard: Heard) -> Iterator[tuple[Window, Floats]]:
        """Yields the windows of a recording in order with their probabilities, (classes,).

        `heard` is told how much was decoded.

        Raises:
            OSError, UnusableAudioError: If it does not decode; some windows may have been yielded before.
        """
        hears = self.features.kind == "log_mel"
        rate = self.features.sample_rate if hears else self.features.frames_per_second
        grid = Grid(max(1, round(self.clip_seconds * rate)), self.clip_seconds, rate, [0])
        upcoming = cut_windows(self._stream(recording, heard), grid, heard)
        (taken,) = self.session.get_inputs()
        while windows := list(islice(upcoming, _BATCH_WINDOWS)):
            crops = np.stack([window.crops[0] for window in windows])  # (windows, steps, channels)
            (probabilities,) = self.session.run(None, {taken.name: crops[:, :, 0] if hears else crops})
            yield from zip(windows, probabilities.astype(np.float64), strict=True)

    def _stream(self, recording: Path, heard: Heard) -> Iterator[NDArray[np.float32]]:
        """Yields what windows are cut from: the waveform, (samples, 1), or embeddings, (steps, channels)."""
        if self.features.kind == "embedding":
            yield from stream_strip(recording, self.features, self.folder, heard)
            return
        for waveform in stream_waveform(recording, self.features.sample_rate, heard):
            yield waveform[:, np.newaxis]


def embedding_folder(exported: Path) -> Path:
    """Returns where the embedding model of an exported file lies: FILE.embedding beside FILE.onnx."""
    return exported.with_suffix(".embedding")


def load_onnx(path: Path) -> OnnxClassifier:
    """Returns the classifier of a file that `birdclef export` wrote.

    Raises:
        FileNotFoundError: If there is no such file, or not the embedding model beside it.
        ImportError: If ONNX Runtime is not installed.
        ValueError: If it is no ONNX file, or none that says what it takes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "Predicting with an exported model needs onnxruntime: pip install 'birdclef[onnx]'."
        ) from error
    try:
        session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
    except Exception as error:
        raise ValueError(f"{path} is not a readable ONNX file ({type(error).__name__}: {error}).") from error
    described = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if described is None:
        raise ValueError(f"{path} was not written by `birdclef export`: it does not say which species it knows.")
    interface = json.loads(described)
    thresholds = np.full(len(interface["species"]), PLAIN_THRESHOLD)
    features, folder = read_features(interface["features"]), embedding_folder(path)
    if features.kind == "embedding" and not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder. It holds {features.model.name}, whose embeddings {path} takes: copy it from "
            "where the file was exported."
        )
    return OnnxClassifier(
        session, interface["species"], features, FeatureDirectory(folder), interface["clip_seconds"], thresholds
    )
