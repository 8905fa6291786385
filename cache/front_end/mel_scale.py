"""Slaney's mel scale: the edges of the mel bands in Hz."""

import numpy as np
from numpy.typing import NDArray

from cache.config.features import LogMelConfig

_BREAK_HZ = 1000.0
_HZ_PER_MEL = 200.0 / 3
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = float(np.log(6.4)) / 27


def mel_edges(features: LogMelConfig) -> NDArray[np.float64]:
    """Returns the edges of the mel bands in Hz, (n_mels + 2,): band i begins at edge i, peaks at i + 1, ends at i + 2.

    The scale is linear up to 1 kHz and logarithmic above: M. Slaney, Auditory Toolbox, Interval Research technical
    report 1998-010.
    """
    mels = np.linspace(_hz_to_mel(features.fmin), _hz_to_mel(features.fmax), features.n_mels + 2)
    edges: NDArray[np.float64] = np.where(
        mels < _BREAK_MEL, mels * _HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL))
    )
    return edges


def bands_between(features: LogMelConfig, low_hz: float, high_hz: float) -> slice:
    """Returns the mel bands that peak between two frequencies, in Hz; an empty slice if none does."""
    peaks = mel_edges(features)[1:-1]
    return slice(int(np.searchsorted(peaks, low_hz)), int(np.searchsorted(peaks, high_hz, side="right")))


def _hz_to_mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return hertz / _HZ_PER_MEL
    return _BREAK_MEL + float(np.log(hertz / _BREAK_HZ)) / _LOG_STEP
