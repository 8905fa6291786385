"""The error of a loss that is not finite, and the file with the batch that caused it."""

from pathlib import Path

import torch

from birdclef.strips.fold import FoldData
from birdclef.training.data import TrainingData


class NonFiniteLossError(FloatingPointError):
    """A training step whose loss is NaN or infinite."""

    def __init__(self, epoch: int, step: int, loss: float) -> None:
        super().__init__(f"The loss is {loss} at epoch {epoch}, step {step}.")
        self.epoch = epoch
        self.step = step


def save_batch(training: TrainingData, fold: FoldData, error: NonFiniteLossError, directory: Path) -> Path:
    """Save the views of the step that failed and the names of their recordings; returns the file."""
    recordings = torch.from_numpy(training.draw_batches(error.epoch)[error.step])
    views = training.make_views(error.epoch, error.step, recordings)
    names = [fold.train["recording_id"][index] for index in views.recordings.tolist()]
    path = directory / "non_finite_batch.pt"
    torch.save({"epoch": error.epoch, "step": error.step, "recordings": names, "crops": views.crops.cpu()}, path)
    return path
