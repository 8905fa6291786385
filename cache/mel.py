"""Waveform to log-mel strip."""

from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cache.config import FeatureConfig

VERSION = 1
"""Raised by hand when the same audio and settings give other numbers."""

_BLOCK_FRAMES = 64  # windowed frames, spectra and powers of a block stay in the second-level cache


@dataclass(frozen=True)
class MelFrontEnd:
    """Window and mel matrix of one feature configuration.

    Attributes:
        window: Periodic Hann, (n_fft,); float64, because a float32 FFT is off by more than 0.01 dB in bands that
            lie 90 dB below the loudest one, as MP3's low-pass leaves them.
        mel_matrix: Slaney mel filters, transposed, (1 + n_fft // 2, n_mels).
    """

    window: NDArray[np.float64]
    mel_matrix: NDArray[np.float32]


@lru_cache(maxsize=4)
def front_end(features: FeatureConfig) -> MelFrontEnd:
    """Returns the front end of a configuration, computed once per process."""
    filters = librosa.filters.mel(
        sr=features.sample_rate, n_fft=features.n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax
    )
    window = librosa.filters.get_window("hann", features.n_fft, fftbins=True)
    return MelFrontEnd(window.astype(np.float64), np.ascontiguousarray(filters.T, dtype=np.float32))


def compute_log_mel(waveform: NDArray[np.float32], features: FeatureConfig) -> NDArray[np.float32]:
    """Returns the log-mel strip of a waveform: 10 log10(mel power), dB re 1, floored, without normalisation.

    Same definition as `librosa.feature.melspectrogram(power=2, center=True, pad_mode="constant")`.

    Args:
        waveform: (samples,) in [-1, 1].
        features: Front-end settings.

    Returns:
        Strip, (frames, n_mels) with frames = 1 + samples // hop_length, in dB >= `floor_db`.
    """
    window, mel_matrix = front_end(features).window, front_end(features).mel_matrix
    padded = np.pad(waveform, features.n_fft // 2)  # (samples + n_fft,)
    frames = 1 + len(waveform) // features.hop_length
    windows = np.lib.stride_tricks.sliding_window_view(padded, features.n_fft)[:: features.hop_length][:frames]
    floor_power = np.float32(10 ** (features.floor_db / 10))
    strip = np.empty((frames, features.n_mels), np.float32)
    for start in range(0, frames, _BLOCK_FRAMES):
        block = slice(start, start + _BLOCK_FRAMES)
        spectrum = scipy.fft.rfft(windows[block] * window, axis=1, overwrite_x=True)
        spectrum = spectrum.astype(np.complex64)  # (block, 1 + n_fft // 2)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        np.maximum(power @ mel_matrix, floor_power, out=strip[block])  # (block, n_mels)
    np.log10(strip, out=strip)
    strip *= 10
    return np.maximum(strip, np.float32(features.floor_db), out=strip)
