"""An exported model in ONNX Runtime."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from birdclef.metrics import Floats
from birdclef.windows import PLAIN_THRESHOLD, Grid, Window, cut_windows
from cache.config import LogMelConfig
from cache.streaming import stream_waveform

METADATA = "birdclef"
"""Key of the file's metadata that holds run, species, sample_rate, clip_seconds and features as JSON."""
_BATCH_WINDOWS = 16


@dataclass(frozen=True)
class OnnxClassifier:
    """One model that takes waveforms.

    Attributes:
        session: Of ONNX Runtime.
        species: Species codes in the order of class indices.
        features: The front end inside the model.
        clip_seconds: Length of a window.
        thresholds: From which probability each species is said to be present, (classes,).
    """

    session: Any
    species: Sequence[str]
    features: LogMelConfig
    clip_seconds: float
    thresholds: Floats

    def classify(self, recording: Path) -> Iterator[tuple[Window, Floats]]:
        """Yields the windows of a recording in order with their probabilities, (classes,).

        Raises:
            OSError, UnusableAudioError: If it does not decode; some windows may have been yielded before.
        """
        rate = self.features.sample_rate
        grid = Grid(round(self.clip_seconds * rate), self.clip_seconds, rate, [0])
        pieces = (waveform[:, np.newaxis] for waveform in stream_waveform(recording, rate))
        upcoming = cut_windows(pieces, grid)
        while windows := list(islice(upcoming, _BATCH_WINDOWS)):
            waveforms = np.stack([window.crops[0, :, 0] for window in windows])  # (windows, samples)
            (probabilities,) = self.session.run(None, {"waveform": waveforms})
            yield from zip(windows, probabilities.astype(np.float64), strict=True)


def load_onnx(path: Path) -> OnnxClassifier:
    """Returns the classifier of a file that `birdclef export` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If ONNX Runtime is not installed.
        ValueError: If it is no ONNX file, or none that says what it takes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeError(
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
    features = LogMelConfig(**interface["features"])
    return OnnxClassifier(session, interface["species"], features, interface["clip_seconds"], thresholds)
