"""Predicts the windows of recordings, and combines the window logits into one score per recording."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from birdclef.config.predict import ViewConfig
from birdclef.model.network import SpeciesModel
from birdclef.strips.crops import gather_windows
from birdclef.strips.residency import Strips
from birdclef.strips.windows import shift_inside

Aggregation = Literal["mean", "max", "top3"]


def aggregate_windows(logits: Tensor, rows: Tensor, recordings: int, aggregation: Aggregation) -> Tensor:
    """Returns class probabilities of each recording, (recordings, classes).

    Args:
        logits: Logits of each window, (windows, classes).
        rows: Index of each window's recording, (windows,), in ascending order.
        recordings: Number of recordings; each has at least one window.
        aggregation: `mean` of the logits, their `max`, or the mean of the three highest of each class (`top3`).
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
    """Yields the strip indices and first frames of the windows in batches."""
    yield from zip(rows.split(batch_windows), firsts.split(batch_windows), strict=True)


@dataclass(frozen=True)
class View:
    """One variant of every window, for test-time augmentation.

    Attributes:
        shift_frames: Frames that are added to the first frame of each window, as far as it stays inside its strip.
        gain_db: Gain that is added to every value, dB.
        shift_bands: Mel bands by which the spectrum moves up; the band at the edge is repeated.
    """

    shift_frames: int = 0
    gain_db: float = 0.0
    shift_bands: int = 0

    @classmethod
    def planned(cls, config: ViewConfig, frames_per_second: float) -> Self:
        """Returns the view of given settings for strips of a frame rate."""
        return cls(round(config.shift_seconds * frames_per_second), config.gain_db, config.shift_bands)

    def of(self, windows: Tensor) -> Tensor:
        """Returns windows with the gain and the shift in bands of the view, (batch, 1, n_mels, frames)."""
        bands = windows.shape[2]
        moved = (torch.arange(bands, device=windows.device) - self.shift_bands).clamp(0, bands - 1)
        return windows[:, :, moved] + self.gain_db


@dataclass(frozen=True)
class ViewOutput:
    """Outputs of a model for the windows of one view.

    Attributes:
        logits: Logits of each window, (windows, classes) float32 on the CPU.
        features: Mean of the pooled backbone features over the windows of each recording, (recordings, width) float32
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
    """Returns the outputs of a model for all windows in one view.

    Args:
        model: Model in eval mode.
        strips: Strips of the recordings.
        windows: Strip index and first frame of each window, (windows,) each.
        frames: Length of a window.
        view: Variant of the windows.
        batch_windows: Windows per forward pass.

    Raises:
        ValueError: If there are no windows.
    """
    device = model.mean_db.device
    logits, summed = [], None
    for rows, firsts in window_batches(*windows, batch_windows):
        moved = shift_inside(firsts.numpy(), view.shift_frames, strips.lengths[rows].numpy(), frames)
        crops = gather_windows(strips, rows, torch.from_numpy(moved), frames).to(device)
        features = model.encode(view.of(crops))
        logits.append(model.heads(features).logits.float().cpu())
        if summed is None:
            summed = torch.zeros(len(strips), features.shape[1])
        summed.index_add_(0, rows, features.float().cpu())
    if summed is None:
        raise ValueError("There is no window to predict.")
    counts = torch.bincount(windows[0], minlength=len(strips)).unsqueeze(1)
    return ViewOutput(torch.cat(logits), summed / counts)
