"""Reads files by libsndfile until no more samples come, whatever length they state.

libsndfile stops at the length that a file states, or that it guesses. So this module looks at what is left unread:
files that were joined to the first one, frames of MP3 behind the stated number, and frames of FLAC, which FFmpeg reads.
"""

from collections.abc import Generator, Iterator
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from cache.audio import ffmpeg, mpeg
from cache.audio.decoded_length import is_plausible
from cache.audio.file_view import file_size, view_part
from cache.audio.joined_file import find_file, find_signature
from cache.audio.sound_chunk import find_sound

BLOCK_SECONDS = 60
_READ_AHEAD = 1 << 14
"""Bytes that a decoder may have read behind the sound; libFLAC reads 8 KiB at once."""

Block = tuple[NDArray[np.float32], int]
"""Samples, (samples, channels), and their sample rate in Hz."""


class RefusedError(ValueError):
    """libsndfile does not open a file."""


class LeftUnreadError(ValueError):
    """What lies behind the samples so far cannot be read."""


def read_blocks(content: BinaryIO, *, whole: bool) -> Iterator[Block]:
    """Yields the samples of a file, and of the files joined to it.

    Args:
        content: A whole file.
        whole: Whether the first block may hold all samples that the file states, which is fastest.

    Raises:
        LeftUnreadError: If files are joined and a later one cannot be read.
        MemoryError: If there is no memory for the samples.
        OSError: If the file cannot be read.
        RefusedError: If libsndfile does not open the file.
        soundfile.SoundFileError, ValueError: If libsndfile does not decode the file.
    """
    place = yield from _read_file(content, whole=whole)
    size = file_size(content)
    while place is not None:
        try:
            following = yield from _read_file(view_part(content, place, size), whole=whole)
        except (soundfile.SoundFileError, ValueError) as error:
            raise LeftUnreadError(f"another file begins at byte {place} and cannot be read ({error})") from error
        place = None if following is None else place + following


def _read_file(content: BinaryIO, *, whole: bool) -> Generator[Block, None, int | None]:
    """Yields the samples of a file up to the next one; returns the place of the next one, or None."""
    sound, following = find_sound(content)
    size = file_size(sound)
    sound.seek(0)
    try:
        audio = soundfile.SoundFile(sound)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise RefusedError(_describe_refusal(error)) from error
    found = 0
    broken: soundfile.SoundFileError | None = None
    with audio:
        try:
            for block in _read_samples(audio, size, whole=whole):
                found += len(block)
                yield block, audio.samplerate
        except soundfile.SoundFileError as error:
            if audio.format not in ("FLAC", "MP3"):
                raise
            broken = error
        read = sound.tell()
    if audio.format == "FLAC":
        following = yield from _read_flac_left(sound, read, found, broken is not None)
    elif broken:
        following = yield from _read_behind_damage(sound, read, found, broken, whole=whole)
    elif audio.format == "MP3":
        following = yield from _read_frames_left(sound, read, found, found >= audio.frames)
    return following


def _read_flac_left(content: BinaryIO, read: int, found: int, broken: bool) -> Generator[Block, None, int | None]:
    """Yields the samples of FLAC frames that libsndfile leaves unread; returns the place of the next file, or None.

    Args:
        content: The file.
        read: Bytes that libsndfile has read.
        found: Samples that it has decoded.
        broken: Whether it ended with an error.
    """
    begin = find_signature(content, 0) or 0  # behind a tag
    following = find_file(content, max(begin + 1, read - _READ_AHEAD))
    if broken or following is not None or read < file_size(content):
        yield from _skip_samples(ffmpeg.read_blocks(_cut(content, following)), found)
    return following


def _read_behind_damage(
    content: BinaryIO, read: int, found: int, error: soundfile.SoundFileError, *, whole: bool
) -> Generator[Block, None, int | None]:
    """Yields the samples of MP3 frames behind damage that libsndfile does not get over; returns as `_read_frames_left`.

    The file is decoded anew without the damage, so the samples in front of it are the same.

    Args:
        content: The file.
        read: Bytes that libsndfile has read.
        found: Samples that were decoded before.
        error: Error of libsndfile; raised if nothing can be left out.
        whole: As in `read_blocks`.
    """
    other = find_signature(content, max(1, read - _READ_AHEAD))
    content = _cut(content, other)
    mended, following = mpeg.leave_out_damage(content, read)
    if file_size(mended) in (0, file_size(content)):
        raise error
    yield from _skip_samples(_read_file(mended, whole=whole), found)
    return other if following is None else following


def _describe_refusal(error: Exception) -> str:
    """Returns in words why libsndfile does not open a file, without the name of the file object."""
    told = str(error).removeprefix("Error opening ").split(": ", 1)[-1]
    # libsndfile's text for an MP3 file without frames, although it was opened
    return "No frame of its sound decodes." if told.startswith("File does not exist") else told


def _cut(content: BinaryIO, end: int | None) -> BinaryIO:
    return content if end is None else view_part(content, 0, end)


def _read_samples(audio: soundfile.SoundFile, size: int, *, whole: bool) -> Iterator[NDArray[np.float32]]:
    """Yields blocks of samples, (samples, channels), until no more come."""
    count = max(1, min(BLOCK_SECONDS * audio.samplerate, audio.frames))
    at_once = whole and is_plausible(audio.frames * audio.channels, size)
    if at_once:
        audio.seek(0)  # as soundfile.read does: it changes the last bits of MPEG-2's samples, which features hold
    # or else soundfile seeks after each read, and the next frames of an MP3 are decoded without bytes of earlier frames
    audio.seekable = lambda: False
    block = audio.read(audio.frames if at_once else count, dtype="float32", always_2d=True)
    while len(block):
        yield block
        block = audio.read(count, dtype="float32", always_2d=True)


def _read_frames_left(content: BinaryIO, read: int, found: int, counted: bool) -> Generator[Block, None, int | None]:
    """Yields the samples of MP3 frames behind the stated number; returns the place of the next joined file, or None.

    Args:
        content: The file.
        read: Bytes that libsndfile has read.
        found: Samples that it has decoded.
        counted: Whether it stopped because the stated number of samples was reached.
    """
    other = find_signature(content, max(1, read - _READ_AHEAD))
    content = _cut(content, other)
    place = mpeg.find_frames(content, read)  # none if all is read
    if counted and place is not None and not mpeg.holds_count(content, place):
        size, (sound, lost) = file_size(content), mpeg.forget_count(content)
        length = file_size(sound)
        sound.seek(0)
        with soundfile.SoundFile(sound) as audio:
            blocks = ((block, audio.samplerate) for block in _read_samples(audio, length, whole=False))
            yield from _skip_samples(blocks, max(0, found - lost))
            place = mpeg.find_frames(content, size - length + sound.tell())
    return place or other


def _skip_samples(blocks: Iterator[Block], count: int) -> Iterator[Block]:
    """Yields blocks without the first samples."""
    for block, rate in blocks:
        if len(block) > count:
            yield block[count:], rate
        count = max(0, count - len(block))
