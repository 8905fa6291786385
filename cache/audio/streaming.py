"""Audio of any length, decoded and turned into its log-mel strip piece by piece in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError, describe_decoder_error, mix_to_mono

_BLOCK_SECONDS = 60


def stream_waveform(path: Path, sample_rate: int, heard: Heard | None = None) -> Iterator[NDArray[np.float32]]:
    """Yields the waveform of a file piece by piece, (samples,), within 1e-6 of what `decode_waveform` returns.

    Args:
        path: A file in any format that libsndfile reads.
        sample_rate: Wanted rate, Hz.
        heard: Is told how much was decoded, before it is yielded.

    Raises:
        OSError: If the file cannot be opened.
        UnusableAudioError: With reason `undecodable`, `empty` or `non_finite`; some of it may have been yielded before.
    """
    with path.open("rb") as content:
        try:
            audio = soundfile.SoundFile(content)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            raise UnusableAudioError("undecodable", describe_decoder_error(path.read_bytes()[:1024], error)) from error
        with audio:
            resampler = soxr.ResampleStream(audio.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
            found = 0
            for block in _read_blocks(audio):
                waveform = mix_to_mono(block)
                if not np.isfinite(waveform).all():
                    raise UnusableAudioError("non_finite", f"NaN or infinite after {found / audio.samplerate:.0f} s")
                found += len(waveform)
                if heard:
                    heard.reach(found / audio.samplerate)
                yield resampler.resample_chunk(waveform)
            if found == 0:
                raise UnusableAudioError("empty", "no sample decodes")
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def header_seconds(path: Path) -> float:
    """Returns the length that a file's header promises, 0 if it has none: good enough for a progress bar."""
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.SoundFileError, OSError):
        return 0.0


def _read_blocks(audio: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    """Yields samples, (samples, channels), until no more decode: a header may promise more."""
    while True:
        try:
            block = audio.read(_BLOCK_SECONDS * audio.samplerate, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise UnusableAudioError("undecodable", str(error)) from error
        if not len(block):
            return
        yield block
