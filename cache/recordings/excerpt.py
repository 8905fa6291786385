"""Excerpts: short sounds cut from recordings, small enough to lie inside a report."""

import hashlib
import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from cache.audio.decoding import UnusableAudioError
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.front_end.log_mel import compute_log_mel
from cache.isolation.decoder import decode_isolated
from cache.isolation.limits import Limits
from cache.recordings.user_table import audio_directory, recording_address
from cache.workspace.urls import read_bytes

EXCERPT_RATE = 32_000
"""Sample rate of an excerpt, Hz; one that MP3 supports."""
_COMPRESSION = 0.9  # between 0 and 1; gives some 7 kB per second
_FADE_SECONDS = 0.02
_PEAK = 0.7


def cut_excerpt(data: DataConfig, recording_id: str, sha256: str, middle: float, seconds: float) -> bytes:
    """Returns an excerpt of a recording as MP3, at the same peak level for all excerpts, with faded ends.

    Args:
        data: Where the recordings are.
        recording_id: Recording to cut from.
        sha256: Digest that the file must have.
        middle: Middle of the excerpt, in seconds; near an end of the recording the excerpt moves inwards.
        seconds: Length of the excerpt; a shorter recording is taken whole.

    Raises:
        OSError: If the file cannot be read.
        UnusableAudioError: If the file has changed since it was scored, or does not decode.
    """
    waveform = _read_waveform(data, recording_id, sha256, EXCERPT_RATE)
    length = min(round(seconds * EXCERPT_RATE), len(waveform))
    first = int(np.clip(round(middle * EXCERPT_RATE) - length // 2, 0, len(waveform) - length))
    part = waveform[first : first + length].copy()
    part *= _PEAK / max(float(np.abs(part).max()), 1e-6)
    fade = min(round(_FADE_SECONDS * EXCERPT_RATE), length // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    part[:fade] *= ramp
    part[length - fade :] *= ramp[::-1]
    stream = io.BytesIO()
    soundfile.write(stream, part, EXCERPT_RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=_COMPRESSION)
    return stream.getvalue()


def read_log_mel(data: DataConfig, recording_id: str, sha256: str, features: LogMelConfig) -> NDArray[np.float32]:
    """Returns the log-mel of a recording, (frames, n_mels) in dB, computed from the file.

    Args:
        data: Where the recordings are.
        recording_id: Recording to read.
        sha256: Digest that the file must have.
        features: Front-end settings.

    Raises:
        OSError, UnusableAudioError: As in `cut_excerpt`.
    """
    return compute_log_mel(_read_waveform(data, recording_id, sha256, features.sample_rate), features)


def _read_waveform(data: DataConfig, recording_id: str, sha256: str, sample_rate: int) -> NDArray[np.float32]:
    """Returns the waveform of a recording whose file must have a digest, (samples,)."""
    audio = read_bytes(recording_address(audio_directory(data), recording_id))
    if hashlib.sha256(audio).hexdigest() != sha256:
        raise UnusableAudioError("changed", f"{recording_id} is no longer the file that was scored")
    return decode_isolated(audio, sample_rate, Limits())
