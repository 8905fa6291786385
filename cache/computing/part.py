"""Computes one part of the store: decodes its recordings, turns them into strips and publishes them together."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoding import DECODER, UnusableAudioError, decode_waveform
from cache.config.features import FeatureConfig
from cache.duplicates.fingerprint import fingerprint_strip, fingerprint_to_text
from cache.front_end.log_mel import compute_log_mel
from cache.front_end.strip import add_noise, compute_strip, remember_noise
from cache.store.fragment import Failure
from cache.store.part_writer import PartWriter
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.urls import read_bytes


@dataclass(frozen=True)
class Source:
    """One audio file to compute.

    Attributes:
        sha256: sha256 of the file.
        address: Path or URL of the file.
        size: Size of the file in bytes.
    """

    sha256: str
    address: str
    size: int


@dataclass(frozen=True)
class Reading:
    """Event: the file of a recording is about to be read, which takes as long as its storage needs."""

    source: Source


@dataclass(frozen=True)
class Started:
    """Event: the file of a recording is read, and its decoding begins."""

    source: Source


@dataclass(frozen=True)
class Finished:
    """Event: a recording is done, with or without a strip.

    Attributes:
        source: The recording.
        seconds: Duration of the audio in its strip; 0 if there is no strip.
        reason: Word for the reason why there is no strip; empty if there is one. `unreadable` means that the file
            vanished or changed since it was hashed, or that its process was killed again and again.
        detail: Details of the reason.
    """

    source: Source
    seconds: float = 0.0
    reason: str = ""
    detail: str = ""

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Self:
        """Returns the event that `dataclasses.asdict` turned into a message."""
        return cls(**{**message, "source": Source(**message["source"])})


Event = Reading | Started | Finished


def compute_part(
    sources: Sequence[Source], features: FeatureConfig, store: FeatureDirectory, refused: Mapping[str, Failure]
) -> Iterator[Event]:
    """Compute a group of recordings and publish its part; yields events before, during and after each recording.

    A file that vanished or changed since it was hashed is left out; the catalogue lists it as unreadable.

    Args:
        sources: Recordings in the order of their strips.
        features: Front-end settings.
        store: Feature directory.
        refused: Failures to record for recordings that must not be decoded, by sha256.

    Raises:
        OSError: If the part cannot be written, or the URL of the audio cannot be reached. Nothing is published then.
    """
    with PartWriter(store, features.channels, features.encoding, features.score_columns) as writer:
        for source in sources:
            if source.sha256 in refused:
                writer.add_failure(refused[source.sha256])
                yield Finished(source, reason=refused[source.sha256].reason, detail=refused[source.sha256].detail)
                continue
            yield from _add_recording(source, features, store, writer)
        writer.publish()


def _add_recording(
    source: Source, features: FeatureConfig, store: FeatureDirectory, writer: PartWriter
) -> Iterator[Event]:
    yield Reading(source)
    try:
        audio = read_bytes(source.address)
        if hashlib.sha256(audio).hexdigest() != source.sha256:
            yield Finished(source, reason="unreadable", detail="changed while the features were built")
            return
        remember_noise(source.sha256, features)
        yield Started(source)
        waveform = decode_waveform(audio, features.sample_rate)
        log_mel = compute_log_mel(waveform, features.compared_log_mel)
        heard = add_noise(waveform, source.sha256, features)
        strip = compute_strip(heard, log_mel, features, store)
        if not (np.isfinite(log_mel).all() and (strip is log_mel or np.isfinite(strip).all())):
            raise UnusableAudioError("non_finite", f"samples up to {np.abs(waveform).max():g} overflow in power")
    except ConnectionError:
        raise  # the recording itself may be fine
    except OSError as error:
        yield Finished(source, reason="unreadable", detail=str(error))
        return
    except UnusableAudioError as error:
        failure = Failure(source.sha256, error.reason, error.detail, decoder=DECODER)
    except MemoryError:
        detail = f"decoding takes more than features.memory_gb={features.memory_gb:g}"
        failure = Failure(source.sha256, "too_large", detail, limit=features.memory_gb, decoder=DECODER)
    else:
        # a noisy copy is not compared, because the recording itself is
        fingerprint = "" if heard is not waveform else _fingerprint(log_mel, features)
        seconds = len(waveform) / features.sample_rate
        stated = None if strip is log_mel else seconds
        writer.add_strip(source.sha256, strip, fingerprint, log_mel=log_mel, seconds=stated)
        yield Finished(source, seconds=seconds)
        return
    writer.add_failure(failure)
    yield Finished(source, reason=failure.reason, detail=failure.detail)


def _fingerprint(log_mel: NDArray[np.float32], features: FeatureConfig) -> str:
    return fingerprint_to_text(fingerprint_strip(log_mel, features.compared_log_mel.frames_per_second))
