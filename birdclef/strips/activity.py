"""Estimates where a bird is heard in a recording, and draws more crops from there."""

from collections.abc import Sequence

import torch
from torch import Tensor

from birdclef.strips.frame_levels import compute_frame_levels
from birdclef.strips.residency import Strips
from cache.config.features import FeatureConfig
from cache.store.strip_store import StripStore

_UNIFORM_SHARE = 0.5
"""Share of the crops that are drawn from anywhere, so that every part of a recording can be drawn."""


def frame_activity(strips: Strips, store: StripStore, sha256s: Sequence[str], features: FeatureConfig) -> Tensor:
    """Returns the activity of each frame, which is higher where a bird is more likely, (total_frames,) float64.

    For embeddings it is the highest score that the model gives to any of its own labels. For log-mel it is the
    amplitude, the root of the mean power. Values can be compared only within one recording.

    Args:
        strips: Strips of the recordings.
        store: Store that holds the strips.
        sha256s: SHA-256 of each recording.
        features: Settings of the features in the strips.
    """
    total = int((strips.starts + strips.lengths).max())
    if features.kind == "log_mel":
        return compute_frame_levels(strips).sqrt()
    activity = torch.ones(total, dtype=torch.float64)
    for sha256, start, length in zip(sha256s, strips.starts.tolist(), strips.lengths.tolist(), strict=True):
        scores = torch.from_numpy(store.read_scores(sha256))  # (frames, labels)
        activity[start : start + length] = scores.double().max(dim=1).values
    return activity


class ActiveCrops:
    """Draws half of the crops with a probability proportional to their activity, and half from anywhere.

    Args:
        strips: Strips to draw from.
        activity: Activity of each frame, (total_frames,).
        frames: Length of a crop.
    """

    def __init__(self, strips: Strips, activity: Tensor, frames: int) -> None:
        self._starts, self._lengths, self._frames = strips.starts, strips.lengths, frames
        cumulative = torch.cat([activity.new_zeros(1), activity.cumsum(0)])  # (total_frames + 1,)
        weights = torch.zeros_like(activity)
        for start, length in zip(self._starts.tolist(), self._lengths.tolist(), strict=True):
            places = max(length - frames + 1, 1)  # first frames of a crop
            span = min(frames, length)
            first = cumulative[start : start + places]
            weights[start : start + places] = cumulative[start + span : start + span + places] - first
        self._cumulative = torch.cat([weights.new_zeros(1), weights.cumsum(0)])  # (total_frames + 1,)

    def draw_offsets(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the first frame of each crop, (batch,) float32.

        In strips that are shorter than a crop all first frames are equally likely, as in `crops.draw_offsets`.

        Args:
            rows: Index of each crop's strip, (batch,) on the CPU.
            generator: Source of randomness, on the CPU.
        """
        starts, lengths = self._starts[rows], self._lengths[rows]
        places = torch.where(lengths >= self._frames, lengths - self._frames + 1, lengths)
        unit = torch.rand(len(rows), generator=generator, dtype=torch.float64)
        anywhere = (unit * places).floor()
        low, high = self._cumulative[starts], self._cumulative[starts + places]
        found = torch.searchsorted(self._cumulative, low + unit * (high - low), right=True) - 1 - starts
        active = found.clamp(min=0).minimum(places - 1).double()
        plain = torch.rand(len(rows), generator=generator) < _UNIFORM_SHARE
        return torch.where(plain | (lengths < self._frames) | (high <= low), anywhere, active).float()
