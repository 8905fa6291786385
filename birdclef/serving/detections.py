"""Writes predictions of new recordings in formats that other programs read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from birdclef.config.predict import DetectionFormat
from birdclef.metrics.classification import Floats
from birdclef.serving.detection_rows import RowWriter
from birdclef.serving.window_stream import Window, WindowClassifier
from cache.audio.decoded_length import Heard

_COUNTED = ("before", "detections", "selections")


class DetectionWriter(ABC):
    """Writes the predictions of recordings to one stream, one recording after the other.

    Attributes:
        detections: Number of detections written so far; None if the format holds windows and no detections.
    """

    detections: int | None = 0

    def __init__(self, stream: TextIO, classifier: WindowClassifier, thresholds: Floats) -> None:
        self.stream = stream
        self.species = classifier.species
        self.thresholds = thresholds
        self.top_hertz = classifier.features.compared_log_mel.fmax
        self.low_hertz = classifier.features.compared_log_mel.fmin
        self.before = 0.0  # seconds of all earlier recordings
        self.selections = 0

    def counts(self) -> dict[str, Any]:
        """Returns what the writer has counted over all recordings so far."""
        return {name: getattr(self, name) for name in _COUNTED}

    def go_on(self, counts: Mapping[str, Any]) -> None:
        """Count on from the `counts` of a writer that wrote earlier recordings."""
        for name in _COUNTED:
            setattr(self, name, counts[name])

    def begin(self, recording: Path, heard: Heard) -> None:
        """Begin a recording, whose sample rate `heard` knows from the first window on."""
        self.recording, self.heard = recording, heard

    @abstractmethod
    def add(self, window: Window, probabilities: Floats) -> None:
        """Write a window of the recording with its probabilities, (classes,)."""

    def finish(self, seconds: float) -> None:
        """End the recording, which is `seconds` long."""
        self.before += seconds

    def present(self, probabilities: Floats) -> list[int]:
        """Returns the label_index of each species that reaches its threshold, the most probable first."""
        found = np.flatnonzero(probabilities >= self.thresholds)
        return [int(index) for index in found[np.argsort(-probabilities[found], kind="stable")]]

    def detect(self, probabilities: Floats) -> list[int]:
        """Returns `present`, and counts these species as detections, because the caller writes them."""
        present = self.present(probabilities)
        self.detections = (self.detections or 0) + len(present)
        return present


class SubmissionWriter(DetectionWriter):
    """Writes a BirdCLEF submission: a row per window, with the probabilities of all species.

    Species without recordings have a column too, with probability 0, in the order of their labels among the others.

    The `row_id` joins the recording's name and the second at which the window's place ends, as the competition demands.
    The last row of a recording is named by its place too, although its window was moved inwards.
    """

    detections = None

    def __init__(self, stream: TextIO, classifier: WindowClassifier, thresholds: Floats) -> None:
        super().__init__(stream, classifier, thresholds)
        self._rows = RowWriter(stream)
        unheard = list(classifier.species_without_recordings)
        labels = [*self.species, *unheard]
        self._order = sorted(range(len(labels)), key=labels.__getitem__) if unheard else range(len(labels))
        self._zeros = np.zeros(len(unheard))
        self._rows.write(["row_id", *(labels[place] for place in self._order)])

    def add(self, window: Window, probabilities: Floats) -> None:
        """Write a row. Its name holds the end of the window's place, even if the recording ends before."""
        row_id = f"{self.recording.stem}_{window.place_end:g}"
        values = np.concatenate([probabilities, self._zeros])
        self._rows.write([row_id, *(f"{values[place]:.6g}" for place in self._order)])


class LongWriter(DetectionWriter):
    """Writes a row for each species that reaches its threshold in a window."""

    def __init__(self, stream: TextIO, classifier: WindowClassifier, thresholds: Floats) -> None:
        super().__init__(stream, classifier, thresholds)
        self._rows = RowWriter(stream)
        self._rows.write(["recording", "start_seconds", "end_seconds", "species", "probability"])

    def add(self, window: Window, probabilities: Floats) -> None:
        """Write the window's species."""
        for index in self.detect(probabilities):
            row = [self.recording, f"{window.start:.6g}", f"{window.end:.6g}", self.species[index]]
            self._rows.write([*row, f"{probabilities[index]:.4f}"])


class RavenWriter(DetectionWriter):
    """Writes a selection table for Raven.

    A selection reaches no higher than half of the recording's own sample rate, where its spectrogram ends. Times run on
    over all recordings, as Raven counts them for a list of sound files.
    """

    def __init__(self, stream: TextIO, classifier: WindowClassifier, thresholds: Floats) -> None:
        super().__init__(stream, classifier, thresholds)
        self._rows = RowWriter(stream, "\t")
        self._rows.write(
            [
                "Selection",
                "View",
                "Channel",
                "Begin Time (s)",
                "End Time (s)",
                "Low Freq (Hz)",
                "High Freq (Hz)",
                "Begin Path",
                "File Offset (s)",
                "Species",
                "Probability",
            ]
        )

    def add(self, window: Window, probabilities: Floats) -> None:
        """Write the window's species as selections."""
        for index in self.detect(probabilities):
            self.selections += 1
            times = [f"{self.before + window.start:.3f}", f"{self.before + window.end:.3f}"]
            top = min(self.top_hertz, self.heard.sample_rate / 2 or self.top_hertz)
            band = [f"{min(self.low_hertz, top):g}", f"{top:g}"]
            place = [self.recording, f"{window.start:.3f}"]
            found = [self.species[index], f"{probabilities[index]:.4f}"]
            self._rows.write([self.selections, "Spectrogram 1", 1, *times, *band, *place, *found])


class AudacityWriter(DetectionWriter):
    """Writes labels of one recording for Audacity: start, end, and species with probability, separated by tabs."""

    def add(self, window: Window, probabilities: Floats) -> None:
        """Write the window's species as labels."""
        for index in self.detect(probabilities):
            label = f"{self.species[index]} {probabilities[index]:.2f}"
            self.stream.write(f"{window.start:.6f}\t{window.end:.6f}\t{label}\n")


WRITERS: dict[DetectionFormat, type[DetectionWriter]] = {
    "submission": SubmissionWriter,
    "long": LongWriter,
    "raven": RavenWriter,
    "audacity": AudacityWriter,
}


def check_names(recordings: Sequence[Path], form: DetectionFormat) -> None:
    """Check that a format can tell the recordings apart.

    Raises:
        ValueError: If two recordings have the same name in a submission, or there are several recordings for Audacity.
    """
    if form == "submission":
        stems: dict[str, Path] = {}
        for recording in recordings:
            other = stems.setdefault(recording.stem, recording)
            if other != recording:
                raise ValueError(
                    f"{other} and {recording} would have the same row ids ({recording.stem}_5, ...). "
                    "Predict them in separate calls, or with --format long."
                )
    if form == "audacity" and len(recordings) > 1:
        raise ValueError(
            f"A label file for Audacity belongs to one recording, but {len(recordings)} were given. "
            "Predict each in its own call, or all with --format long."
        )
