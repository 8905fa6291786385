"""Mixes noise with waveforms."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.config.noise import NoiseFile, NoiseMix
from cache.workspace.urls import read_bytes

VERSION = 1
"""Version of the mixture; raised by hand when the same recording and noise give another mixture."""

_N_FFT = 4096
_BLOCK_FRAMES = 2048
_REMEMBERED_BYTES = 256_000_000
"""Noise that a process keeps decoded. A process mixes many recordings, mostly with the same files."""

_remembered: OrderedDict[tuple[str, int], NDArray[np.float32]] = OrderedDict()


def mix_noise(waveform: NDArray[np.float32], sha256: str, noise: NoiseMix, sample_rate: int) -> NDArray[np.float32]:
    """Returns a waveform with noise added, (samples,).

    The noise is one file from a random place on, repeated if it is too short, at a random ratio. What is drawn depends
    only on the recording, the noise and `noise.variant`. If the recording or the noise has no power in `noise.song_hz`,
    the waveform is returned without noise.

    Args:
        waveform: (samples,).
        sha256: sha256 of the recording.
        noise: Noise, and the ratio of the powers in `noise.song_hz`.
        sample_rate: Sample rate, Hz.

    Raises:
        RuntimeError: If the file of noise cannot be read, or has changed.
        ConnectionError: If its URL cannot be reached.
    """
    file, generator = _draw_file(sha256, noise)
    place, snr_db = generator.random(), generator.uniform(*noise.snr_db)
    sound = _read_noise(file, sample_rate)
    piece = np.take(sound, int(place * len(sound)) + np.arange(len(waveform)), mode="wrap")  # (samples,)
    power, noise_power = (song_power(sound, noise.song_hz, sample_rate) for sound in (waveform, piece))
    if not (power and noise_power):
        return waveform
    return waveform + piece * np.float32(np.sqrt(power / noise_power / 10 ** (snr_db / 10)))


def remember_noise(sha256: str, noise: NoiseMix, sample_rate: int) -> None:
    """Read the file that `mix_noise` will mix with a recording, so that the mixing does not wait for its storage.

    Raises:
        RuntimeError, ConnectionError: As in `mix_noise`.
    """
    _read_noise(_draw_file(sha256, noise)[0], sample_rate)


def _draw_file(sha256: str, noise: NoiseMix) -> tuple[NoiseFile, np.random.Generator]:
    """Returns the file of noise of a recording, and the generator of what else is drawn."""
    generator = np.random.default_rng([int(sha256, 16), int(noise.background, 16), noise.variant])
    return noise.files[generator.integers(len(noise.files))], generator


def song_power(waveform: NDArray[np.float32], song_hz: tuple[float, float], sample_rate: int) -> float:
    """Returns the mean power between two frequencies of a waveform, (samples,), by frames with a Hann window."""
    frequencies = scipy.fft.rfftfreq(_N_FFT, 1 / sample_rate)
    chosen = (frequencies >= song_hz[0]) & (frequencies <= song_hz[1])
    window = np.hanning(_N_FFT).astype(np.float32)
    energy = 0.0
    for block in _frames(waveform):
        spectrum = scipy.fft.rfft(block * window, axis=1)[:, chosen]  # (frames, bins)
        energy += 2 / _N_FFT * float(np.square(np.abs(spectrum), dtype=np.float64).sum())
    overlap = float(np.square(window, dtype=np.float64).sum()) / (_N_FFT // 2)  # mean weight of a sample
    return energy / overlap / len(waveform)


def _frames(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yields frames that overlap by a half, (frames, _N_FFT); the waveform is filled with zeros to whole frames."""
    hop = _N_FFT // 2
    padded = np.pad(waveform, (hop, hop + -len(waveform) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::hop]
    for first in range(0, len(frames), _BLOCK_FRAMES):
        yield frames[first : first + _BLOCK_FRAMES]


def _read_noise(file: NoiseFile, sample_rate: int) -> NDArray[np.float32]:
    """Returns the waveform of a file of noise, (samples,), and remembers it."""
    key = file.sha256, sample_rate
    if key in _remembered:
        _remembered.move_to_end(key)
        return _remembered[key]
    try:
        content = read_bytes(file.address)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise UnusableAudioError("changed", "the file changed during the build")
        _remembered[key] = decode_waveform(content, sample_rate)
    except ConnectionError:
        raise
    except (OSError, UnusableAudioError, MemoryError) as error:
        raise RuntimeError(
            f"{file.address} cannot be used as background ({error}). Run the features stage again, which puts such a "
            "file into the quarantine of the background."
        ) from error
    sound = _remembered[key]
    while sum(each.nbytes for each in _remembered.values()) > _REMEMBERED_BYTES:
        _remembered.popitem(last=False)
    return sound
