"""Log-mel for comparisons: read from the store, or computed from the audio if the store holds embeddings."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.config.data import DataConfig
from cache.config.features import FeatureConfig, LogMelConfig
from cache.front_end.log_mel import compute_log_mel
from cache.isolation.limits import Limits
from cache.recordings.user_table import audio_directory, recording_address
from cache.store.strip_store import StripStore
from cache.workspace.urls import read_bytes


@dataclass(frozen=True)
class ComparedLogMel:
    """Reads or computes the log-mel of recordings.

    Attributes:
        strips: Store with the strips of the recordings.
        features: Features of the store.
        data: Where the recordings are.
        recordings: recording_id and sha256 of each recording.
    """

    strips: StripStore
    features: FeatureConfig
    data: DataConfig
    recordings: pd.DataFrame

    @property
    def log_mel_config(self) -> LogMelConfig:
        """Front-end settings of the compared log-mel."""
        return self.features.compared_log_mel

    def read(self, sha256: str) -> NDArray[np.floating[Any]]:
        """Returns the log-mel of a recording, (frames, bands) in dB.

        Raises:
            OSError: If the log-mel must be computed, and the file cannot be read.
            ValueError: If the log-mel must be computed, and the file no longer has the digest `sha256`, or does not
                decode.
        """
        if self.features.kind == "log_mel":
            return self.strips.read(sha256)
        from cache.isolation.decoder import decode_isolated  # here, because log-mel needs no decoder

        name = self.recordings.loc[self.recordings["sha256"] == sha256, "recording_id"].iloc[0]
        address = recording_address(audio_directory(self.data), name)
        audio = read_bytes(address)
        if hashlib.sha256(audio).hexdigest() != sha256:
            raise ValueError(
                f"{address} changed after its features were computed: it no longer has the sha256 {sha256}. Run the "
                "command again. If the error comes back, run birdclef verify, which reads every file anew."
            )
        limits = Limits(self.features.memory_gb, self.features.timeout_seconds)
        try:
            waveform = decode_isolated(audio, self.features.sample_rate, limits)
        except ValueError as error:
            raise ValueError(f"{address} cannot be decoded again, to compare it ({error}). Remove it.") from error
        return compute_log_mel(waveform, self.features.compared_log_mel)
