"""Decodes audio of any length piece by piece, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError, read_blocks
from cache.audio.ffmpeg import stated_seconds
from cache.audio.file_view import file_size
from cache.audio.mixing import MonoMix, cut_spans
from cache.audio.sound_chunk import find_sound

_LEAST = 8
"""Bytes of a second in any kind of file. Silence takes 23 as FLAC at 8 kHz, and 70 as Ogg Vorbis."""
_LEAST_BYTES_PER_SECOND = {"MP3": 1000}
"""Bytes of a second in kinds of files that have a lowest bit rate."""


def stream_waveform(path: Path, sample_rate: int, heard: Heard | None = None) -> Iterator[NDArray[np.float32]]:
    """Yields the waveform of a file piece by piece, (samples,), within 2e-6 of the result of `decode_waveform`.

    Args:
        path: A file in any format that `decode_waveform` reads.
        sample_rate: Sample rate of the waveform, Hz.
        heard: Gets the file's sample rate, and the decoded seconds, before each piece is yielded.

    Raises:
        OSError: If the file cannot be opened.
        UnusableAudioError: With reason `undecodable`, `empty` or `non_finite`; pieces may have been yielded before.
    """
    resampler: soxr.ResampleStream | None = None
    found, mono = 0, MonoMix()
    with path.open("rb") as content:
        for block, native_rate in cut_spans(read_blocks(content)):
            waveform = mono.mix(block, native_rate)
            if not np.isfinite(waveform).all():
                raise UnusableAudioError("non_finite", f"NaN or infinite after {found / native_rate:.0f} s")
            found += len(waveform)
            if heard:
                heard.reach(found / native_rate)
                heard.sample_rate = native_rate
            if resampler is None:
                resampler = soxr.ResampleStream(native_rate, sample_rate, 1, dtype="float32", quality="HQ")
            yield resampler.resample_chunk(waveform)
    if resampler is None:
        raise UnusableAudioError("empty", "no sample decodes")
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def header_seconds(path: Path) -> float:
    """Returns the seconds that a file's header states; 0 if it states none, or more than the file can hold.

    They may be wrong, so use them for progress only.
    """
    try:
        with path.open("rb") as content:
            size = file_size(content)
            return _stated_seconds(find_sound(content)[0], size)
    except OSError:
        return 0.0


def _stated_seconds(content: BinaryIO, size: int) -> float:
    content.seek(0)
    try:
        stated = soundfile.info(content)
        seconds, least = float(stated.duration), _LEAST_BYTES_PER_SECOND.get(stated.format, _LEAST)
    except (soundfile.SoundFileError, TypeError, ValueError):
        seconds, least = stated_seconds(content), _LEAST
    return seconds if seconds * least <= size else 0.0
