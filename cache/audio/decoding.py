"""Decodes audio bytes to a mono waveform at a wanted sample rate."""

import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from cache.audio import ffmpeg, libsndfile
from cache.audio.containers import HEAD_BYTES
from cache.audio.file_view import file_size, read_at, view_part
from cache.audio.libsndfile import LeftUnreadError
from cache.audio.mixing import MonoMix, cut_spans
from cache.audio.ogg import PAGE, Link, find_links
from cache.audio.sound_chunk import find_sound
from cache.audio.vorbis import decode_vorbis

DECODER = 3
"""Version of the decoding; raised by hand when it reads more. Recordings that did not decode are then tried again."""

_LEAST_RATE = 1_000
"""Lowest sample rate of a recording, Hz. By a rate of a few Hz a small file would become hours of sound."""


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

    The file is read as in `read_blocks` and mixed as in `MonoMix`.

    Args:
        audio: A whole file in any format that libsndfile (WAV, FLAC, MP3, Ogg, ...) or FFmpeg (M4A, WebM, WMA, MP4,
            MOV, ...) reads. A video gives its first audio stream.
        sample_rate: Sample rate of the waveform, Hz.

    Returns:
        Waveform, (samples,), float32, nominally in [-1, 1].

    Raises:
        UnusableAudioError: With reason `undecodable`, `empty` or `non_finite`.
        MemoryError: If there is no memory for the samples.
    """
    waveform, native_rate = _decode_mono(audio)
    found = len(waveform)
    if not found:
        raise UnusableAudioError("empty", "no sample decodes")
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.dot(waveform, waveform)  # finite only if all samples are; takes a third of the time of isfinite
    if not np.isfinite(energy) and not np.isfinite(waveform).all():
        raise UnusableAudioError("non_finite", f"{int((~np.isfinite(waveform)).sum())} samples are NaN or infinite")
    if native_rate != sample_rate:
        waveform = soxr.resample(waveform, native_rate, sample_rate, quality="HQ")
    if len(waveform) == 0:
        raise UnusableAudioError("empty", f"{found} samples at {native_rate} Hz are none at {sample_rate} Hz")
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _decode_mono(audio: bytes) -> tuple[NDArray[np.float32], int]:
    """Returns the samples of a file, mixed to mono, (samples,), and their sample rate in Hz."""
    if (decoded := decode_vorbis(audio)) is not None:
        channels, rate = decoded
        _check_rate(rate)
        return MonoMix().mix(channels.T, rate), rate
    mono = MonoMix()
    pieces: list[NDArray[np.float32]] = []
    rate = 0
    for channels, rate in cut_spans(read_blocks(io.BytesIO(audio), whole=True)):
        pieces.append(mono.mix(channels, rate))
    if len(pieces) == 1:
        return pieces[0], rate
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32), rate


def _check_rate(rate: int) -> None:
    if rate < _LEAST_RATE:
        raise UnusableAudioError("undecodable", f"its sample rate of {rate} Hz holds no song of a bird")


def read_blocks(content: BinaryIO, *, whole: bool = False) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yields the samples of a file, (samples, channels), and their sample rate in Hz, until no more samples come.

    The format is recognised by the content, not by a file name. The length that a file states is not believed, because
    it may be too large or too small. libsndfile reads the file. FFmpeg reads what libsndfile does not open, and Ogg
    files with damaged pages. Files that were joined are read one after the other.

    Args:
        content: A whole file.
        whole: Whether the first block may hold all samples that the file states, which is fastest.

    Raises:
        MemoryError: If there is no memory for the samples.
        OSError: If the file cannot be read.
        UnusableAudioError: With reason `undecodable`, also if the sample rate is below 1 kHz; blocks may have been
            yielded before.
    """
    size = file_size(content)
    links = [Link(0, size, damaged=False)]
    if read_at(content, 0, len(PAGE)) == PAGE:
        links = find_links(content, size)
    damaged = any(link.damaged for link in links)
    found = rate = 0
    for link in links:
        part = content if len(links) == 1 else view_part(content, link.start, link.end)
        try:
            is_ogg = read_at(part, 0, len(PAGE)) == PAGE
            for block, block_rate in _read_damaged(part) if damaged and is_ogg else _read_file(part, whole=whole):
                if rate not in (0, block_rate):
                    raise LeftUnreadError(f"the sample rate changes from {rate} to {block_rate} Hz")
                _check_rate(block_rate)
                rate = block_rate
                found += len(block)
                yield block, rate
        except (LeftUnreadError, UnusableAudioError) as error:
            if not found:
                raise
            detail = error.detail if isinstance(error, UnusableAudioError) else error
            raise UnusableAudioError("undecodable", f"only the first {found / rate:.1f} s decode: {detail}") from error


def _read_file(content: BinaryIO, *, whole: bool) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yields the samples of a file by libsndfile, or by FFmpeg if libsndfile does not open it.

    Raises:
        LeftUnreadError, MemoryError, OSError: As in `libsndfile.read_blocks`.
        UnusableAudioError: With reason `undecodable`.
    """
    try:
        yield from libsndfile.read_blocks(content, whole=whole)
    except libsndfile.RefusedError as error:
        sound, following = find_sound(content)
        yield from _read_refused(sound, error)
        if following is not None:
            raise LeftUnreadError(f"another file begins at byte {following}") from error
    except LeftUnreadError:
        raise
    except (soundfile.SoundFileError, ValueError, OverflowError) as error:
        raise UnusableAudioError("undecodable", describe_decoder_error(b"?", error)) from error


def _read_refused(content: BinaryIO, refusal: Exception) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yields the samples of a file that libsndfile does not open, by FFmpeg.

    Args:
        content: The whole file.
        refusal: Error of libsndfile.

    Raises:
        MemoryError, OSError: As in `ffmpeg.read_blocks`.
        UnusableAudioError: With reason `undecodable`, if FFmpeg does not open the file either.
    """
    detail = describe_decoder_error(read_at(content, 0, HEAD_BYTES), refusal)
    if not ffmpeg.holds_sound(content):
        raise UnusableAudioError("undecodable", detail) from refusal
    try:
        yield from ffmpeg.read_blocks(content)
    except ValueError as error:
        raise UnusableAudioError("undecodable", f"libsndfile: {detail} FFmpeg: {error}.") from error


def _read_damaged(content: BinaryIO) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yields the samples of an Ogg file with damaged pages, by FFmpeg.

    libsndfile is not used, because such files can crash it.

    Raises:
        MemoryError, OSError: As in `ffmpeg.read_blocks`.
        UnusableAudioError: With reason `undecodable`, if no packet decodes.
    """
    try:
        yield from ffmpeg.read_blocks(content)
    except ValueError as error:
        raise UnusableAudioError("undecodable", f"pages of the Ogg file are damaged. FFmpeg: {error}.") from error


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
    return str(error)
