"""Decodes audio of any length piece by piece, in bounded memory."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError, mix_to_mono, read_refused
from cache.audio.ffmpeg import stated_seconds

BLOCK_SECONDS = 60


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
    found = 0
    with path.open("rb") as content:
        for block, native_rate in _read_blocks(content):
            waveform = mix_to_mono(block)
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
    """Returns the seconds that a file's header states, 0 if none. They may be wrong, so use them for progress only."""
    try:
        return float(soundfile.info(os.fsencode(path)).duration)  # bytes, because not every name is text
    except (soundfile.SoundFileError, TypeError):
        pass
    except OSError:
        return 0.0
    try:
        with path.open("rb") as content:
            return stated_seconds(content)
    except OSError:
        return 0.0


def _read_blocks(content: BinaryIO) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yields samples, (samples, channels), and their sample rate in Hz, until no more samples decode."""
    try:
        audio = soundfile.SoundFile(content)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        yield from read_refused(content, error)
        return
    # or else soundfile seeks after each read, and the next frames of an MP3 are decoded without bytes of earlier frames
    audio.seekable = lambda: False
    block_samples = min(BLOCK_SECONDS * audio.samplerate, audio.frames)
    with audio:
        while True:
            try:
                block = audio.read(block_samples, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise UnusableAudioError("undecodable", str(error)) from error
            if not len(block):
                return
            yield block, audio.samplerate
