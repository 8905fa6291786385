"""Recordings cut into windows, and window logits put together to one score per recording."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from birdclef.model.network import SpeciesModel
from birdclef.strips.crops import gather_windows
from birdclef.strips.residency import Strips

Aggregation = Literal["mean", "max", "top3"]


def aggregate_windows(logits: Tensor, rows: Tensor, recordings: int, aggregation: Aggregation) -> Tensor:
    """Returns class probabilities of each recording, (recordings, classes).

    Args:
        logits: Of each window, (windows, classes).
        rows: Recording of each window, (windows,), in ascending order.
        recordings: Number of recordings; each has at least one window.
        aggregation: `mean` of the logits, their `max`, or the mean of the `top3` of each class.
    """
    counts = torch.bincount(rows, minlength=recordings).tolist()
    scores = []
    for windows in logits.float().split(counts):  # (windows of the recording, classes)
        if aggregation == "mean":
            scores.append(windows.mean(dim=0))
        else:
            best = 1 if aggregation == "max" else min(3, len(windows))
            scores.append(windows.topk(best, dim=0).values.mean(dim=0))
    return torch.stack(scores).softmax(dim=1)


def window_batches(rows: Tensor, firsts: Tensor, batch_windows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the windows in batches."""
    yield from zip(rows.split(batch_windows), firsts.split(batch_windows), strict=True)


@dataclass(frozen=True)
class View:
    """One look at every window: test-time augmentation.

    Attributes:
        shift_frames: Added to the first frame of each window.
        gain_db: Added to every value.
        shift_bands: Mel bands by which the spectrum moves up; the edge is repeated.
    """

    shift_frames: int = 0
    gain_db: float = 0.0
    shift_bands: int = 0

    def of(self, windows: Tensor) -> Tensor:
        """Returns windows at another level and pitch, (batch, 1, n_mels, frames)."""
        bands = windows.shape[2]
        moved = (torch.arange(bands, device=windows.device) - self.shift_bands).clamp(0, bands - 1)
        return windows[:, :, moved] + self.gain_db


@dataclass(frozen=True)
class ViewOutput:
    """What a model says about the windows of one view.

    Attributes:
        logits: Of each window, (windows, classes) float32 on the CPU.
        features: Pooled backbone features, the mean over the windows of each recording, (recordings, width) float32
            on the CPU.
    """

    logits: Tensor
    features: Tensor


@torch.inference_mode()
def predict_view(
    model: SpeciesModel,
    strips: Strips,
    windows: tuple[Tensor, Tensor],
    frames: int,
    view: View,
    batch_windows: int,
) -> ViewOutput:
    """Returns what a model says about windows, each seen once.

    Args:
        model: In eval mode.
        strips: Of the recordings.
        windows: Strip and first frame of each window.
        frames: Length of a window.
        view: How the windows are seen.
        batch_windows: Windows per forward pass.
    """
    device = model.mean_db.device
    logits, summed = [], None
    for rows, firsts in window_batches(*windows, batch_windows):
        crops = gather_windows(strips, rows, firsts + view.shift_frames, frames).to(device)
        features = model.encode(view.of(crops))
        logits.append(model.heads(features).logits.float().cpu())
        if summed is None:
            summed = torch.zeros(len(strips), features.shape[1])
        summed.index_add_(0, rows, features.float().cpu())
    if summed is None:
        raise ValueError("There is no window to predict.")
    counts = torch.bincount(windows[0], minlength=len(strips)).unsqueeze(1)
    return ViewOutput(torch.cat(logits), summed / counts)
