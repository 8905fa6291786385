"""Where in a recording a bird is likely to be heard, and crops drawn from there more often."""

from collections.abc import Sequence

import torch
from torch import Tensor

from birdclef.strips.frame_levels import compute_frame_levels
from birdclef.strips.residency import Strips
from cache.config.features import FeatureConfig
from cache.store.strip_store import StripStore

_UNIFORM_SHARE = 0.5
"""Share of the crops that are drawn from anywhere all the same, so that nothing is never heard."""


def frame_activity(strips: Strips, store: StripStore, sha256s: Sequence[str], features: FeatureConfig) -> Tensor:
    """Returns how likely a bird is heard in each frame, in a unit of the recording's own, (total_frames,) float64.

    Of embeddings it is the highest score that the model gives any of its own labels; of a log-mel the root of the mean
    power, which is its amplitude.

    Args:
        strips: Of the recordings.
        store: Which they come from.
        sha256s: Of the recordings.
        features: What the strips are.
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
    """Draws half of the crops in proportion to the activity of their frames, and half from anywhere."""

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
        """Returns a first frame for a crop of each strip, (batch,) float32; as `crops.draw_offsets` in short strips.

        Args:
            rows: Index of each crop's strip, (batch,) on the CPU.
            generator: On the CPU.
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
