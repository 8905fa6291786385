"""Statistics against NumPy over all frames at once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from birdclef.strips.input_statistics import channel_statistics, compute_statistics, input_statistics
from birdclef.strips.residency import ResidentStrips
from cache.store.encoding import StripEncoding


def test_statistics_of_each_channel_and_of_all(lay_out: Callable[..., ResidentStrips]) -> None:
    generator = np.random.default_rng(0)
    values = [generator.normal([0, 5, 9], [1, 2, 0], (frames, 3)).astype(np.float16) for frames in (30, 7)]
    strips, together = lay_out(values), np.concatenate(values).astype(float)
    mean, deviation = channel_statistics(strips)
    assert mean.shape == deviation.shape == (3, 1)
    np.testing.assert_allclose(mean[:, 0], together.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviation[:2, 0], together.std(axis=0)[:2], rtol=1e-5)
    assert 0 < deviation[2, 0] <= 1e-3  # the channel that never changes
    assert input_statistics(strips, "band_median") == compute_statistics(strips)
    assert torch.equal(torch.as_tensor(input_statistics(strips, "channel")[0]), mean)


@pytest.mark.parametrize("level", [-100.1, -33.3])
def test_constant_strips_have_a_small_deviation(level: float) -> None:
    """The squares of a float32 have 48 bits, so their sum is rounded, and the variance may come out below zero."""
    encoding = StripEncoding("uint8", 1.0, level)
    for frames in range(1, 200):
        values = torch.zeros(frames, 3, dtype=torch.uint8)
        strips = ResidentStrips(values, torch.tensor([0]), torch.tensor([frames]), encoding)
        mean, deviation = compute_statistics(strips)
        assert mean == pytest.approx(level)
        assert 0 < deviation <= 1e-3
