"""Pooled features against a plain loop over windows."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from birdclef.config.model import ModelConfig
from birdclef.inference.frozen_features import pool_features
from birdclef.model.network import build_model
from birdclef.strips.residency import ResidentStrips

LayOut = Callable[[Sequence[NDArray[np.float16]]], ResidentStrips]


def test_features_are_the_mean_over_windows_that_follow_each_other(lay_out: LayOut) -> None:
    generator = np.random.default_rng(5)
    strips = [generator.normal(-50, 10, (frames, 32)).astype(np.float16) for frames in (96, 32, 50)]
    model = build_model(ModelConfig(backbone="test_resnet"), 1).eval()
    pooled = pool_features(model, lay_out(strips), frames=32, batch_windows=4)
    for strip, row, firsts in zip(strips, pooled, ([0, 32, 64], [0], [0, 18]), strict=True):
        windows = np.stack([strip[first : first + 32].T for first in firsts])[:, np.newaxis].astype(np.float32)
        with torch.no_grad():
            expected = model.encode(torch.from_numpy(windows)).mean(dim=0)
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-5)
