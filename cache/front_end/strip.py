"""Turns sound into strips. Only this module of the cache chooses the front end by the kind of features."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.config.features import FeatureConfig, NoisyEmbeddingConfig
from cache.front_end import embedding as embedding_model
from cache.front_end import log_mel as mel
from cache.front_end import noisy_waveform
from cache.front_end.embedding import keep_model, open_embedder
from cache.front_end.log_mel_stream import stream_log_mel
from cache.isolation.decoder import stream_isolated
from cache.isolation.limits import Limits
from cache.workspace.feature_directory import FeatureDirectory


def front_end_version(features: FeatureConfig) -> int:
    """Returns the front end's version: that of the log-mel, plus 100 times that of embeddings if these are stored.

    For noisy copies 10,000 times the version of the mixture is added.
    """
    if features.kind == "log_mel":
        return mel.VERSION
    mixture = 10_000 * noisy_waveform.VERSION if isinstance(features, NoisyEmbeddingConfig) else 0
    return mixture + 100 * embedding_model.VERSION + mel.VERSION


def equip_store(features: FeatureConfig, store: FeatureDirectory) -> None:
    """Copy the files that the front end needs in any process, such as a model, into a feature directory.

    Raises:
        ValueError: As in `keep_model`.
    """
    if features.kind == "embedding":
        keep_model(features.model, store)


def warm_up(features: FeatureConfig, store: FeatureDirectory) -> None:
    """Load what the front end needs before the first recording, so that no recording is blamed for the load.

    Raises:
        FileNotFoundError, ImportError, ValueError: As in `open_embedder`.
    """
    if features.kind == "embedding":
        open_embedder(features, store)


def add_noise(waveform: NDArray[np.float32], sha256: str, features: FeatureConfig) -> NDArray[np.float32]:
    """Returns the waveform that the features are of: with noise for noisy copies, or else the waveform itself.

    Args:
        waveform: (samples,).
        sha256: sha256 of the recording.
        features: Front-end settings.

    Raises:
        RuntimeError, ConnectionError: As in `mix_noise`.
    """
    if not isinstance(features, NoisyEmbeddingConfig):
        return waveform
    return noisy_waveform.mix_noise(waveform, sha256, features.noise, features.sample_rate)


def remember_noise(sha256: str, features: FeatureConfig) -> None:
    """Read what `add_noise` will add to a recording; does nothing if the features have no noise.

    Raises:
        RuntimeError, ConnectionError: As in `mix_noise`.
    """
    if isinstance(features, NoisyEmbeddingConfig):
        noisy_waveform.remember_noise(sha256, features.noise, features.sample_rate)


def compute_strip(
    waveform: NDArray[np.float32], log_mel: NDArray[np.float32], features: FeatureConfig, store: FeatureDirectory
) -> NDArray[np.float32]:
    """Returns the strip of a waveform with the scores behind it, (frames, channels + scores).

    Args:
        waveform: (samples,).
        log_mel: Log-mel of the waveform by `features.compared_log_mel`, (frames, bands) in dB.
        features: Front-end settings.
        store: Feature directory.

    Raises:
        UnusableAudioError: As in `Embedder.embed`.
    """
    if features.kind == "log_mel":
        return log_mel
    strip = np.concatenate(list(open_embedder(features, store).embed([waveform])))
    return strip[:, : features.channels + features.score_columns]


def stream_strip(
    recording: Path, features: FeatureConfig, store: FeatureDirectory, heard: Heard | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yields the strip of a file without scores in pieces, (frames, channels), in bounded memory.

    Args:
        recording: A file in any format that `decode_waveform` reads.
        features: Front-end settings.
        store: Feature directory.
        heard: As in `stream_isolated`.

    Raises:
        OSError, UnusableAudioError: As in `stream_isolated` and `Embedder.embed`.
    """
    limits = Limits(features.memory_gb, features.timeout_seconds)
    pieces = stream_isolated(recording, features.sample_rate, limits, heard)
    if features.kind == "log_mel":
        yield from stream_log_mel(pieces, features)
    else:
        for strip in open_embedder(features, store).embed(pieces):
            yield strip[:, : features.channels]
