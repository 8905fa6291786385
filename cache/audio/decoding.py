"""Decodes audio bytes to a mono waveform at a wanted sample rate."""

import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from cache.audio.containers import HEAD_BYTES
from cache.audio.ffmpeg import holds_sound, read_blocks
from cache.audio.vorbis import decode_vorbis

DECODER = 1
"""Version of the decoding; raised by hand when it reads more formats. Undecodable recordings are then tried again."""


class UnusableAudioError(ValueError):
    """Audio that gives no usable waveform.

    Attributes:
        reason: Word for the reason, as in the quarantine.
        detail: Details of the reason.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.reason, self.detail)


def decode_waveform(audio: bytes, sample_rate: int) -> NDArray[np.float32]:
    """Returns the waveform of an audio file, mixed to mono and resampled.

    The length in the header is ignored, because some encoders state more samples than there are. The format is
    recognised by the content, not by a file name. libsndfile reads the file in one piece. FFmpeg reads Ogg Vorbis, and
    files that libsndfile does not open.

    Args:
        audio: A whole file in any format that libsndfile (WAV, FLAC, MP3, Ogg, ...) or FFmpeg (M4A, WebM, WMA, MP4,
            MOV, ...) reads. A video gives its first audio stream.
        sample_rate: Sample rate of the waveform, Hz.

    Returns:
        Waveform, (samples,), float32, nominally in [-1, 1].

    Raises:
        UnusableAudioError: With reason `undecodable`, `empty` or `non_finite`.
        MemoryError: If there is no memory for the samples, or for the samples that the header states.
    """
    try:
        channels, native_rate = _decode_channels(audio)
    except UnusableAudioError:
        raise
    except (soundfile.SoundFileError, TypeError, ValueError, OverflowError) as error:
        raise UnusableAudioError("undecodable", describe_decoder_error(audio, error)) from error
    if len(channels) == 0:
        raise UnusableAudioError("empty", "no sample decodes")
    found = len(channels)
    waveform = mix_to_mono(channels)
    del channels  # frees half of the memory that a stereo file takes
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.dot(waveform, waveform)  # finite only if all samples are; takes a third of the time of isfinite
    if not np.isfinite(energy) and not np.isfinite(waveform).all():
        raise UnusableAudioError("non_finite", f"{int((~np.isfinite(waveform)).sum())} samples are NaN or infinite")
    if native_rate != sample_rate:
        waveform = soxr.resample(waveform, native_rate, sample_rate, quality="HQ")
    if len(waveform) == 0:
        raise UnusableAudioError("empty", f"{found} samples at {native_rate} Hz are none at {sample_rate} Hz")
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _decode_channels(audio: bytes) -> tuple[NDArray[np.float32], int]:
    """Returns the samples of a file, (samples, channels), and their sample rate in Hz."""
    if (decoded := decode_vorbis(audio)) is not None:
        channels, rate = decoded
        return channels.T, rate
    try:
        channels, rate = soundfile.read(io.BytesIO(audio), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        if not error.prefix.startswith("Error opening"):
            raise
        mixed = [(mix_to_mono(block), rate) for block, rate in read_refused(io.BytesIO(audio), error)]
        if not mixed:
            return np.empty((0, 1), np.float32), 0
        return np.concatenate([waveform for waveform, _ in mixed])[:, np.newaxis], mixed[0][1]
    return channels, rate


def read_refused(content: BinaryIO, refusal: Exception) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yields the samples of a file that libsndfile does not open, (samples, channels), and their sample rate in Hz.

    Args:
        content: The whole file.
        refusal: Error of libsndfile.

    Raises:
        MemoryError, OSError: As in `read_blocks`.
        UnusableAudioError: With reason `undecodable`, if FFmpeg does not open the file either.
    """
    content.seek(0)
    detail = describe_decoder_error(content.read(HEAD_BYTES), refusal)
    if not holds_sound(content):
        raise UnusableAudioError("undecodable", detail) from refusal
    try:
        yield from read_blocks(content)
    except ValueError as error:
        raise UnusableAudioError("undecodable", f"libsndfile: {detail} FFmpeg: {error}.") from error


def mix_to_mono(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the mean over the channels, (samples,).

    NumPy's own mean over a short axis takes 20 times as long.

    Args:
        channels: (samples, channels).
    """
    waveform = channels[:, 0]  # (samples,)
    if channels.shape[1] > 1:
        waveform = waveform + channels[:, 1]
        for channel in range(2, channels.shape[1]):
            waveform += channels[:, channel]
        waveform /= channels.shape[1]
    return waveform


def describe_decoder_error(audio: bytes, error: Exception) -> str:
    """Returns in words why libsndfile does not open audio.

    Args:
        audio: First bytes of the file, or the whole file.
        error: Error of libsndfile.
    """
    if audio.startswith(b"version https://git-lfs"):
        return "a Git-LFS pointer, not audio: fetch the file with `git lfs pull`"
    if not audio:
        return "the file has no bytes"
    return str(error).removeprefix("Error opening ").split(": ", 1)[-1]
