"""Shows the most confident mistakes, each beside a recording of the predicted species, with picture and sound."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.predictions import Predictions
from birdclef.report.plots import plot_strip
from birdclef.scores.report_scores import Scored
from cache.audio.decoding import UnusableAudioError
from cache.config.data import DataConfig
from cache.config.features import read_features
from cache.recordings.excerpt import cut_excerpt, read_log_mel
from cache.store.strip_store import StripStore

logger = logging.getLogger(__name__)

_SHOWN_SECONDS = 5.0
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Exhibit:
    """Excerpt of a recording in the report.

    Attributes:
        recording_id: Identifier of the recording.
        sha256: sha256 of the audio file.
        picture: PNG of the strip, five seconds around the loudest frame.
        shows_embeddings: Whether the picture shows embeddings, because the audio could not be read.
        excerpt: MP3 of the same seconds; None if the report has no sound of the recording.
        silence: Reason why there is no sound; empty if there is one.
    """

    recording_id: str
    sha256: str
    picture: bytes
    shows_embeddings: bool
    excerpt: bytes | None
    silence: str


@dataclass(frozen=True)
class Mistake:
    """A recording for which the ensemble predicted another species.

    Attributes:
        label: True species of the recording.
        predicted: Species that the ensemble predicted.
        confidence: Calibrated probability of the predicted species.
        own: Excerpt of the recording.
        other: Excerpt of a recording of the predicted species.
    """

    label: str
    predicted: str
    confidence: float
    own: Exhibit
    other: Exhibit


def list_errors(scored: Scored) -> pd.DataFrame:
    """Returns recording_id, label, predicted and confidence of all mistakes, the most confident first.

    To predict a secondary species is no mistake; the most probable other species is compared with the label.
    """
    predictions = Predictions(scored.probabilities, None, scored.ignored)
    predicted = predictions.chosen
    confidence = Predictions(scored.calibrated, None, scored.ignored).confidence
    wrong = predicted != scored.recordings["label_index"].to_numpy()
    errors = pd.DataFrame(
        {
            "recording_id": scored.recordings["recording_id"][wrong],
            "label": scored.recordings["label"][wrong],
            "predicted": scored.species["label"].to_numpy()[predicted[wrong]],
            "confidence": confidence[wrong].round(4),
        }
    )
    order = np.lexsort((errors["recording_id"], -predictions.confidence[wrong], -errors["confidence"]))
    return errors.iloc[order].reset_index(drop=True)


def show_mistakes(errors: pd.DataFrame, scored: Scored, config: EvaluateConfig, data: DataConfig) -> list[Mistake]:
    """Returns mistakes with pictures and sounds, of the recording itself and of the predicted species.

    Args:
        errors: Rows of `list_errors`.
        scored: Numbers of the report.
        config: `clip_megabytes` limits the size of all sounds together.
        data: Where the recordings lie.
    """
    exhibitor = Exhibitor(scored, data, config.clip_megabytes)
    shown: Counter[str] = Counter()
    mistakes = []
    for label, predicted, name, confidence in zip(
        *(errors[column] for column in ("label", "predicted", "recording_id", "confidence")), strict=True
    ):
        typical = _list_typical(predicted, scored)
        other = typical[shown[predicted] % len(typical)]
        shown[predicted] += 1
        mistakes.append(Mistake(label, predicted, float(confidence), exhibitor.show(name), exhibitor.show(other)))
    return mistakes


class Exhibitor:
    """Draws recordings and cuts their sounds, until the sounds reach the size limit of the report."""

    def __init__(self, scored: Scored, data: DataConfig, megabytes: float) -> None:
        self._store = StripStore(scored.lineage.features)
        self._features = read_features(scored.report["lineage"]["features"]["config"])
        self._sha256_of = dict(zip(scored.catalogue["recording_id"], scored.catalogue["sha256"], strict=True))
        self._data = data
        self._room = megabytes * _MEGABYTE
        self._refusal = "" if megabytes > 0 else "left out"
        self._in_reach = True

    def show(self, recording_id: str) -> Exhibit:
        """Returns an excerpt of a recording, five seconds around its loudest frame."""
        sha256 = self._sha256_of[recording_id]
        log_mel = self._log_mel(recording_id, sha256)
        strip, frames_per_second = log_mel or (self._store.read(sha256), self._features.frames_per_second)
        frames = min(max(1, round(_SHOWN_SECONDS * frames_per_second)), len(strip))
        first = find_loudest(strip, frames)
        picture = plot_strip(strip[first : first + frames])
        middle = (first + frames / 2) / frames_per_second
        excerpt, silence = self._cut(recording_id, sha256, middle)
        return Exhibit(recording_id, sha256, picture, log_mel is None, excerpt, silence)

    def _log_mel(self, recording_id: str, sha256: str) -> tuple[NDArray[Any], float] | None:
        """Returns the log-mel, (frames, n_mels), and its frames per second.

        It is read from the store or, if the store holds embeddings, computed from the audio; None if the audio cannot
        be read.
        """
        features = self._features.compared_log_mel
        if self._features.kind == "log_mel":
            return self._store.read(sha256), features.frames_per_second
        if not self._in_reach:
            return None
        try:
            return read_log_mel(self._data, recording_id, sha256, features), features.frames_per_second
        except UnusableAudioError as error:
            logger.warning("report: cannot read %s, so its picture shows embeddings (%s)", recording_id, error)
        except OSError as error:
            self._lose_recordings(error)
        return None

    def _cut(self, recording_id: str, sha256: str, middle: float) -> tuple[bytes | None, str]:
        if self._refusal:
            return None, self._refusal
        try:
            excerpt = cut_excerpt(self._data, recording_id, sha256, middle, _SHOWN_SECONDS)
        except UnusableAudioError as error:
            return None, error.detail
        except OSError as error:
            self._lose_recordings(error)
            return None, self._refusal
        if len(excerpt) > self._room:
            self._refusal = "no room left: evaluate.clip_megabytes"
            return None, self._refusal
        self._room -= len(excerpt)
        return excerpt, ""

    def _lose_recordings(self, error: OSError) -> None:
        """Read no more recordings, after one of them was out of reach."""
        lost = "sounds" if self._features.kind == "log_mel" else "sounds, and its pictures show embeddings"
        logger.warning(
            "report: cannot read the recordings, so the report has no more %s (%s: %s)",
            *(lost, type(error).__name__, error),
        )
        self._in_reach = False
        self._refusal = self._refusal or "the recordings were out of reach"


def find_loudest(strip: NDArray[Any], frames: int) -> int:
    """Returns the first frame of an excerpt around the loudest frame.

    Args:
        strip: (frames, n_mels) in dB.
        frames: Length of the excerpt, at most that of the strip.
    """
    loudest = int(strip.astype(np.float32).mean(axis=1).argmax())
    return int(np.clip(loudest - frames // 2, 0, len(strip) - frames))


def _list_typical(label: str, scored: Scored) -> list[str]:
    """Returns the scored recordings of a species, the most probable first, or all usable ones if none was scored."""
    index = scored.species["label"].tolist().index(label)
    own = np.flatnonzero(scored.recordings["label_index"] == index)
    if not len(own):
        return scored.catalogue.loc[scored.catalogue["label"] == label, "recording_id"].tolist()
    best_first = own[np.argsort(-scored.probabilities[own, index], kind="stable")]
    return scored.recordings["recording_id"].iloc[best_first].tolist()
