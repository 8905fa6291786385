"""Frequencies over many draws against shares computed by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from birdclef.strips.activity import ActiveCrops, frame_activity
from birdclef.strips.residency import ResidentStrips, load_strips
from cache.config.features import EmbeddingConfig, LogMelConfig
from cache.store.part_writer import PartWriter
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory


def test_half_of_the_crops_follow_the_activity_and_half_do_not(lay_out: Callable[..., ResidentStrips]) -> None:
    strips = lay_out([np.zeros((3, 2), np.float16), np.zeros((5, 2), np.float16), np.zeros((1, 2), np.float16)])
    activity = torch.tensor([9.0, 9, 9, 1, 0, 0, 2, 5, 7], dtype=torch.float64)
    crops = ActiveCrops(strips, activity, frames=2)
    drawn = crops.draw_offsets(torch.ones(20_000, dtype=torch.int64), torch.Generator().manual_seed(0))
    # crops of two frames at 0, 1, 2, 3 hold 1, 0, 2, 7 of 10
    expected = [(0.25 + share) / 2 for share in (0.1, 0.0, 0.2, 0.7)]
    assert torch.bincount(drawn.long()).double() / 20_000 == pytest.approx(expected, abs=0.015)


def test_short_and_silent_strips_are_drawn_from_anywhere(lay_out: Callable[..., ResidentStrips]) -> None:
    strips = lay_out([np.zeros((2, 1), np.float16), np.zeros((6, 1), np.float16)])
    crops = ActiveCrops(strips, torch.zeros(8, dtype=torch.float64), frames=4)
    for row, places in ((0, 2), (1, 3)):
        drawn = crops.draw_offsets(torch.full((3000,), row), torch.Generator().manual_seed(1)).long()
        assert torch.bincount(drawn).double() / 3000 == pytest.approx([1 / places] * places, abs=0.05)


def test_activity_is_amplitude_or_the_highest_score_of_the_model(tmp_path: Path, tiny_model: Path) -> None:
    strip = np.array([[0.0, 0.0], [-20.0, -20.0]], np.float32)
    with PartWriter(FeatureDirectory(tmp_path / "log_mel"), 2) as writer:
        writer.add_strip("a", strip)
        writer.publish()
    store = StripStore(FeatureDirectory(tmp_path / "log_mel"))
    strips = load_strips(store, ["a"], torch.device("cpu"), "host")
    assert frame_activity(strips, store, ["a"], LogMelConfig()).tolist() == pytest.approx([1.0, 0.1])
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)})
    scores = np.array([[0.1, 0.5, 0.0, 0.2], [0.9, 0.0, 0.0, 0.0]], np.float32)
    with PartWriter(FeatureDirectory(tmp_path / "embedding"), 4, score_columns=4) as writer:
        writer.add_strip("a", np.hstack([np.ones((2, 4), np.float32), scores]))
        writer.publish()
    store = StripStore(FeatureDirectory(tmp_path / "embedding"))
    strips = load_strips(store, ["a"], torch.device("cpu"), "host")
    assert frame_activity(strips, store, ["a"], features).tolist() == pytest.approx([0.5, 0.9], abs=1e-3)
