"""Edges of the mel bands against librosa, which uses Slaney's scale by default."""

import librosa
import numpy as np
import pytest

from cache.config.features import LogMelConfig
from cache.front_end.mel_scale import bands_between, mel_edges


@pytest.mark.parametrize(("n_mels", "fmin", "fmax"), [(128, 20.0, 16_000.0), (64, 150.0, 15_000.0), (4, 0.0, 900.0)])
def test_edges_are_those_of_librosa(n_mels: int, fmin: float, fmax: float) -> None:
    edges = mel_edges(LogMelConfig(n_mels=n_mels, fmin=fmin, fmax=fmax))
    np.testing.assert_allclose(edges, librosa.mel_frequencies(n_mels=n_mels + 2, fmin=fmin, fmax=fmax), rtol=1e-9)


def test_bands_between_two_frequencies_are_those_whose_peaks_lie_there() -> None:
    peaks = librosa.mel_frequencies(n_mels=130, fmin=20.0, fmax=16_000.0)[1:-1]
    bands = bands_between(LogMelConfig(), 1_000.0, 10_000.0)
    np.testing.assert_array_equal(np.arange(128)[bands], np.flatnonzero((peaks >= 1_000) & (peaks <= 10_000)))


def test_no_bands_come_back_where_none_lies_between() -> None:
    assert np.arange(128)[bands_between(LogMelConfig(fmax=900.0), 1_000.0, 10_000.0)].size == 0
    assert np.arange(128)[bands_between(LogMelConfig(fmin=300.0), 100.0, 200.0)].size == 0
