"""Decodes files that libsndfile does not open, by FFmpeg: AAC, ALAC, WMA, Opus in WebM, the sound of videos.

Encoders put extra samples before the sound (priming). FFmpeg drops them if the file states their number: in an edit
list of MP4, M4A and MOV, in a codec delay of WebM and Matroska. ADTS, MPEG-TS, FLV and AVI files do not state it, so
their sound begins late, by 0.02 s for AAC at 44.1 kHz. For WMA, FFmpeg drops the two frames that Windows' encoder adds.
Extra samples at the end of the last frame stay.

Time is counted in samples. A gap in a file's time stamps is not filled, and sound that begins after the first picture
of a video begins at 0.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cache.audio.containers import HEAD_BYTES, name_container
from cache.audio.mp4 import joined_files

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.container import InputContainer

BLOCK_SECONDS = 60
_OPTIONS = {"protocol_whitelist": "none"}  # FFmpeg must not open other files that a file names


class _Readable:
    """A file object for FFmpeg: an impossible seek, as in a damaged file, gives an error code and no exception."""

    def __init__(self, content: BinaryIO) -> None:
        self.read = content.read
        self.tell = content.tell
        self._seek = content.seek

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._seek(place, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def holds_sound(content: BinaryIO) -> bool:
    """Whether the first bytes of a file show a kind of file whose sound FFmpeg can decode."""
    content.seek(0)
    return name_container(content.read(HEAD_BYTES)) is not None


def read_blocks(content: BinaryIO) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yields the samples of a file's first audio stream, (samples, channels), and their sample rate in Hz.

    As in the program `ffmpeg`, packets that do not decode are left out, and a file that is cut off ends there. MP4
    files that were joined are read one after the other.

    Args:
        content: A whole file for which `holds_sound` is true.

    Raises:
        MemoryError: If there is no memory for the samples.
        OSError: If the file cannot be read.
        ValueError: If the file has no audio stream, if there is no decoder for the stream, if no packet decodes, or if
            the sample rate changes.
    """
    for file in _joined_files(content):
        yield from _read_blocks_of_one(file)


def _read_blocks_of_one(content: BinaryIO) -> Iterator[tuple[NDArray[np.float32], int]]:
    waiting: list[NDArray[np.float32]] = []
    rate = channels = found = 0
    for frame in _decode_frames(content):
        samples = _to_float(frame)  # (channels, samples)
        if rate not in (0, frame.sample_rate):
            raise ValueError(f"the sample rate changes from {rate} to {frame.sample_rate} Hz")
        if waiting and (found >= BLOCK_SECONDS * rate or len(samples) != channels):
            yield np.concatenate(waiting, axis=1).T, rate
            waiting, found = [], 0
        rate, channels = frame.sample_rate, len(samples)
        waiting.append(samples)
        found += samples.shape[1]
    if waiting:
        yield np.concatenate(waiting, axis=1).T, rate


def _joined_files(content: BinaryIO) -> Iterator[BinaryIO]:
    """Yields the files that were joined to this one, if FFmpeg would read only the first."""
    content.seek(0)
    return joined_files(content) if name_container(content.read(HEAD_BYTES)) == "mov" else iter([content])


def stated_seconds(content: BinaryIO) -> float:
    """Returns the length that a file states, in seconds; 0 if it states none or cannot be opened."""
    from av import FFmpegError

    try:
        with _open(content) as container:
            return max(0, container.duration or 0) / 1e6
    except (FFmpegError, ValueError):
        return 0.0


def _decode_frames(content: BinaryIO) -> Iterator["AudioFrame"]:
    """Yields the frames of the first audio stream.

    Raises:
        MemoryError, OSError, ValueError: As in `read_blocks`.
    """
    found = False
    problems: list[str] = []
    with _keep_problems(problems), _open(content) as container:
        for packet in container.demux(_first_audio(container)):
            with _keep_problems(problems):
                frames = packet.decode()
                found = found or bool(frames)
                yield from frames
    if problems and not found:
        raise ValueError(problems[0])


@contextmanager
def _keep_problems(problems: list[str]) -> Iterator[None]:
    """Append the messages of FFmpeg's errors to a list; only a lack of memory is raised."""
    from av import FFmpegError

    try:
        yield
    except FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        problems.append(str(error.strerror))


def _open(content: BinaryIO) -> "InputContainer":
    """Returns the file, opened by FFmpeg.

    Raises:
        FFmpegError, OSError, ValueError: If the file cannot be opened.
    """
    # Imported here because most programs that import this module open no file by FFmpeg.
    import av

    content.seek(0)
    kind = name_container(content.read(HEAD_BYTES))
    if kind is None:
        raise ValueError("it is no kind of file that holds sound")
    content.seek(0)
    return av.open(_Readable(content), "r", format=kind, options=_OPTIONS, metadata_errors="replace")


def _first_audio(container: "InputContainer") -> "AudioStream":
    if not container.streams.audio:
        raise ValueError("there is no sound in the file")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise ValueError("there is no decoder for its sound")
    stream.codec_context.thread_count = 1
    return stream


def _to_float(frame: "AudioFrame") -> NDArray[np.float32]:
    """Returns the samples of a frame, (channels, samples) in [-1, 1]."""
    samples = frame.to_ndarray()  # (channels, samples), or (1, samples * channels)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    middle = full_scale if samples.dtype.kind == "u" else 0.0
    return (samples.astype(np.float32) - np.float32(middle)) / np.float32(full_scale)
