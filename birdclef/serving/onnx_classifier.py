"""Classifies windows with an exported model, in ONNX Runtime."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from birdclef.config.feature_kind import check_window
from birdclef.metrics.classification import Floats
from birdclef.model.trained_run import ModelInput
from birdclef.serving.window_stream import PLAIN_THRESHOLD, Grid, Window, cut_windows
from cache.audio.decoded_length import Heard
from cache.config.features import FeatureConfig, read_features
from cache.front_end.strip import stream_strip
from cache.isolation.decoder import stream_isolated
from cache.isolation.limits import Limits
from cache.models.model_file import check_onnx
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.file_format import describe_first

METADATA = "birdclef"
"""Metadata key of an exported file. The value is JSON: run, input, species, sample_rate, clip_seconds, features."""
_INPUT = TypeAdapter(ModelInput)
_BATCH_WINDOWS = 16


@dataclass(frozen=True)
class OnnxClassifier:
    """An exported model, which takes waveforms or embeddings.

    Attributes:
        session: Session of ONNX Runtime.
        species: Labels in the order of label_index.
        features: Settings of the front end: log-mel inside the model, or an embedding model beside the file.
        folder: Folder of the embedding model.
        clip_seconds: Length of a window, s.
        thresholds: Probability from which each species is decided to be present, (classes,).
        species_without_recordings: None, because a run does not know them.
    """

    session: Any
    species: Sequence[str]
    features: FeatureConfig
    folder: FeatureDirectory
    clip_seconds: float
    thresholds: Floats
    species_without_recordings: Sequence[str] = ()

    def classify(self, recording: Path, heard: Heard) -> Iterator[tuple[Window, Floats]]:
        """Yields the windows of a recording in order with their probabilities, (classes,).

        Args:
            recording: Audio file.
            heard: Receives the number of seconds decoded so far.

        Raises:
            OSError, UnusableAudioError: If the recording does not decode. Windows before the fault are yielded.
        """
        takes_waveform = self.features.kind == "log_mel"
        rate = self.features.sample_rate if takes_waveform else self.features.frames_per_second
        grid = Grid(max(1, round(self.clip_seconds * rate)), self.clip_seconds, rate, [0])
        upcoming = cut_windows(self._stream(recording, heard), grid, heard)
        (model_input,) = self.session.get_inputs()
        while windows := list(islice(upcoming, _BATCH_WINDOWS)):
            crops = np.stack([window.crops[0] for window in windows])  # (windows, steps, channels)
            (probabilities,) = self.session.run(None, {model_input.name: crops[:, :, 0] if takes_waveform else crops})
            yield from zip(windows, probabilities.astype(np.float64), strict=True)

    def _stream(self, recording: Path, heard: Heard) -> Iterator[NDArray[np.float32]]:
        """Yields pieces of the waveform, (samples, 1), or of the strip of embeddings, (steps, channels)."""
        if self.features.kind == "embedding":
            yield from stream_strip(recording, self.features, self.folder, heard)
            return
        limits = Limits(self.features.memory_gb, self.features.timeout_seconds)
        for waveform in stream_isolated(recording, self.features.sample_rate, limits, heard):
            yield waveform[:, np.newaxis]


def embedding_folder(exported: Path) -> Path:
    """Returns the folder of an exported file's embedding model: FILE.embedding beside FILE.onnx."""
    return exported.with_suffix(".embedding")


def load_onnx(path: Path) -> OnnxClassifier:
    """Returns the classifier of a file that `birdclef export` wrote.

    Raises:
        FileNotFoundError: If the file, or the embedding model beside it, does not exist.
        ImportError: If ONNX Runtime is not installed.
        ValueError: If the file is not ONNX, keeps weights in another file, or `birdclef export` did not write it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Write it with `birdclef export`.")
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "An exported model needs onnxruntime. Install it with: pip install 'birdclef[onnx]'"
        ) from error
    check_onnx(path)
    try:
        session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
    except Exception as error:
        raise ValueError(f"{path} is not a readable ONNX file ({type(error).__name__}: {error}).") from error
    described = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if described is None:
        raise ValueError(
            f"{path} does not list its species, so `birdclef export` did not write it. Export the run again."
        )
    try:
        interface = _INPUT.validate_json(described, strict=True)
        features = read_features(interface["features"])
        check_window(interface["clip_seconds"], features)
    except ValueError as error:
        reason = describe_first(error) if isinstance(error, ValidationError) else error
        raise ValueError(
            f"{path} does not describe its species and its input as this version of birdclef does ({reason}). Export "
            "the run again."
        ) from error
    species, seconds = interface["species"], interface["clip_seconds"]
    folder = embedding_folder(path)
    if features.kind == "embedding" and not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder. {path} needs the embedding model {features.model.name} in it. Copy the folder "
            "from where the file was exported."
        )
    thresholds = np.full(len(species), PLAIN_THRESHOLD)
    return OnnxClassifier(session, species, features, FeatureDirectory(folder), seconds, thresholds)
