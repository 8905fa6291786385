"""Levels of frames by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from birdclef.strips.frame_levels import compute_frame_levels
from birdclef.strips.residency import ResidentStrips

LayOut = Callable[[Sequence[NDArray[np.float16]]], ResidentStrips]


def test_frame_level_is_the_mean_power_of_the_frame(lay_out: LayOut) -> None:
    generator = np.random.default_rng(0)
    strips = [
        generator.normal(-50, 12, (frames, 5)).astype(np.float16) for frames in (70_000, 3)
    ]  # more frames than are converted at a time
    levels = compute_frame_levels(lay_out(strips))
    expected = (10 ** (np.concatenate(strips).astype(np.float64) / 10)).mean(axis=1)
    assert levels.dtype == torch.float64
    np.testing.assert_allclose(levels.numpy(), expected, rtol=1e-12)
