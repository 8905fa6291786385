"""One part of the store: its recordings decoded, turned into strips and published together."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cache.audio.decoding import DECODER, UnusableAudioError, decode_waveform
from cache.config.features import FeatureConfig
from cache.duplicates.fingerprint import fingerprint_strip, fingerprint_to_text
from cache.front_end.kinds import compute_strip
from cache.front_end.log_mel import compute_log_mel
from cache.store.fragment import Failure
from cache.store.part_writer import PartWriter
from cache.workspace.address import read_bytes
from cache.workspace.feature_directory import FeatureDirectory


@dataclass(frozen=True)
class Source:
    """One audio file to compute: its hash, its path or URL, and its size in bytes."""

    sha256: str
    address: str
    size: int


@dataclass(frozen=True)
class Started:
    """A recording is being decoded from now on."""

    source: Source


@dataclass(frozen=True)
class Finished:
    """A recording is done.

    Attributes:
        source: The recording.
        seconds: Of audio in its strip; 0 if it gave none.
        reason: Why it gave no strip; empty if it did, `unreadable` if nothing is known of the recording itself: the
            file vanished or changed since it was hashed, or somebody kept ending its process.
        detail: More on the reason.
    """

    source: Source
    seconds: float = 0.0
    reason: str = ""
    detail: str = ""

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Self:
        """Returns what `dataclasses.asdict` took apart."""
        return cls(**{**message, "source": Source(**message["source"])})


def compute_part(
    sources: Sequence[Source], features: FeatureConfig, store: FeatureDirectory, refused: Mapping[str, Failure]
) -> Iterator[Started | Finished]:
    """Compute a group of recordings and publish its part; yields before and after each of them.

    A file that vanished or changed since it was hashed is left out; the catalogue lists it as unreadable.

    Args:
        sources: The recordings, in the order of their strips.
        features: Front-end settings.
        store: Feature directory.
        refused: By sha256, recordings that must not be decoded, and the failure to record instead.

    Raises:
        OSError: If the part cannot be written, or the audio's place not be reached. Nothing of it is visible then.
    """
    with PartWriter(store, features.channels, features.encoding, features.score_columns) as writer:
        for source in sources:
            if source.sha256 in refused:
                writer.add_failure(refused[source.sha256])
                yield Finished(source, reason=refused[source.sha256].reason, detail=refused[source.sha256].detail)
                continue
            yield Started(source)
            yield _add_recording(source, features, store, writer)
        writer.publish()


def _add_recording(source: Source, features: FeatureConfig, store: FeatureDirectory, writer: PartWriter) -> Finished:
    try:
        audio = read_bytes(source.address)
        if hashlib.sha256(audio).hexdigest() != source.sha256:
            return Finished(source, reason="unreadable", detail="changed while the features were built")
        waveform = decode_waveform(audio, features.sample_rate)
        log_mel = compute_log_mel(waveform, features.compared_log_mel)
        strip = compute_strip(waveform, log_mel, features, store)
        if not (np.isfinite(log_mel).all() and (strip is log_mel or np.isfinite(strip).all())):
            raise UnusableAudioError("non_finite", f"samples up to {np.abs(waveform).max():g} overflow in power")
    except ConnectionError:
        raise  # nothing is known about the recording
    except OSError as error:
        return Finished(source, reason="unreadable", detail=str(error))
    except UnusableAudioError as error:
        failure = Failure(source.sha256, error.reason, error.detail, decoder=DECODER)
    except MemoryError:
        detail = f"decoding takes more than features.memory_gb={features.memory_gb:g}"
        failure = Failure(source.sha256, "too_large", detail, limit=features.memory_gb, decoder=DECODER)
    else:
        fingerprint = fingerprint_to_text(fingerprint_strip(log_mel, features.compared_log_mel.frames_per_second))
        seconds = len(waveform) / features.sample_rate
        stated = None if strip is log_mel else seconds
        writer.add_strip(source.sha256, strip, fingerprint, log_mel=log_mel, seconds=stated)
        return Finished(source, seconds=seconds)
    writer.add_failure(failure)
    return Finished(source, reason=failure.reason, detail=failure.detail)
