"""Computes the log-mel strip of a waveform of any length piece by piece, in bounded memory."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from cache.config.features import LogMelConfig
from cache.front_end.log_mel import compute_log_mel


def stream_log_mel(pieces: Iterable[NDArray[np.float32]], features: LogMelConfig) -> Iterator[NDArray[np.float32]]:
    """Yields the log-mel strip of a waveform piece by piece, (frames, n_mels) in dB; the values of `compute_log_mel`.

    Args:
        pieces: Pieces of the waveform, (samples,) each.
        features: Front-end settings.
    """
    hop, half = features.hop_length, features.n_fft // 2
    margin = -(-half // hop)  # first pending frames, whose windows begin before the pending samples
    pending = np.empty(0, np.float32)
    skipped = 0  # pending frames that were yielded before
    for piece in pieces:
        pending = np.concatenate([pending, piece])
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
