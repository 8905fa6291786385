"""The filter against numpy's interpolation and against levels that are constructed."""

import numpy as np
import pytest
import torch
from scipy import stats

from birdclef.augment.mixing_at_ratio import to_decibels, to_power
from birdclef.augment.song_filter import draw_filter, filter_song


def test_filter_is_a_line_through_five_points_within_its_gain() -> None:
    gains = draw_filter(400, 128, 6.0, 1.0, torch.Generator().manual_seed(0)).double().numpy()
    assert np.abs(gains).max() <= 6.00001
    bends = np.abs(np.diff(gains, n=2, axis=1)) > 1e-4
    assert bends.sum(axis=1).max() <= 6  # three inner points, each between two bands
    assert bends.any(axis=1).mean() > 0.9
    for end in (0, -1):
        assert stats.kstest(gains[:, end], stats.uniform(-6, 12).cdf).pvalue > 1e-3


def test_straight_pieces_meet_at_the_drawn_points() -> None:
    """The same numbers, drawn once more, go through numpy's interpolation."""
    generator = torch.Generator().manual_seed(7)
    inner = np.sort(torch.rand(50, 3, generator=generator).numpy(), axis=1)
    values = 6 * (2 * torch.rand(50, 5, generator=generator).numpy() - 1)
    gains = draw_filter(50, 40, 6.0, 1.0, torch.Generator().manual_seed(7)).numpy()
    for gain, points, levels in zip(gains, inner, values, strict=True):
        expected = np.interp(np.arange(40), 39 * np.concatenate([[0], points, [1]]), levels)
        np.testing.assert_allclose(gain, expected, atol=2e-3)


def test_song_changes_by_the_gain_and_the_floor_stays() -> None:
    """A tone 30 dB above a floor of -60 dB; by hand, 10 log10(1 + g (1000 - 1)) dB above the floor afterwards."""
    log_mel = torch.full((1, 1, 3, 5), -60.0, dtype=torch.float64)
    log_mel[..., 2], log_mel[..., 4] = -30.0, -75.0
    gain_db = torch.tensor([[6.0, 0.0, -6.0]], dtype=torch.float64)
    floor = to_power(torch.full((1, 1, 3, 1), -60.0, dtype=torch.float64))
    filtered = to_decibels(filter_song(to_power(log_mel), floor, gain_db))[0, 0].numpy()
    np.testing.assert_allclose(filtered[:, [0, 1, 3]], -60.0, atol=1e-6)
    np.testing.assert_allclose(filtered[:, 4], -75.0, atol=1e-6)
    for band, gain in enumerate((6.0, 0.0, -6.0)):
        assert filtered[band, 2] == pytest.approx(-60 + 10 * np.log10(1 + 10 ** (gain / 10) * 999), abs=1e-6)
