"""Computes the log-mel strip of a file of any length piece by piece, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.audio.streaming import stream_waveform
from cache.config.features import LogMelConfig
from cache.front_end.log_mel import compute_log_mel


def stream_log_mel(path: Path, features: LogMelConfig, heard: Heard | None = None) -> Iterator[NDArray[np.float32]]:
    """Yields the log-mel strip of a file piece by piece, (frames, n_mels) in dB; the values of `compute_log_mel`.

    Args:
        path: A file in any format that `decode_waveform` reads.
        features: Front-end settings.
        heard: As in `stream_waveform`.

    Raises:
        OSError, UnusableAudioError: As in `stream_waveform`.
    """
    hop, half = features.hop_length, features.n_fft // 2
    margin = -(-half // hop)  # first pending frames, whose windows begin before the pending samples
    pending = np.empty(0, np.float32)
    skipped = 0  # pending frames that were yielded before
    for waveform in stream_waveform(path, features.sample_rate, heard):
        pending = np.concatenate([pending, waveform])
        whole = (len(pending) - half) // hop + 1  # frames whose windows end within the pending samples
        if whole <= skipped:
            continue
        yield compute_log_mel(pending, features)[skipped:whole]
        dropped = max(0, whole - margin)
        pending = pending[dropped * hop :]
        skipped = whole - dropped
    rest = compute_log_mel(pending, features)[skipped:]
    if len(rest):
        yield rest
