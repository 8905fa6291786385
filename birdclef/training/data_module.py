"""Batches of training and validation for Lightning."""

from dataclasses import replace
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from birdclef.inference.views import window_batches
from birdclef.strips.crops import gather_windows
from birdclef.training.data import TrainingData, ValidationData
from birdclef.training.distributed import own_part
from birdclef.training.sampler import describe_batches


class SpeciesDataModule(pl.LightningDataModule):
    """Gives Lightning batches of indices, and turns each batch into views or windows on the device.

    Attributes:
        batch_statistics: Statistics of the current epoch's batches, by metric name.
    """

    def __init__(self, training: TrainingData, validation: ValidationData, views: int) -> None:
        super().__init__()
        self._training = training
        self._validation = validation
        self._views = views
        self.batch_statistics: dict[str, float] = {}

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns the batches of the current epoch: epoch, step, and the indices of the recordings, (batch,) int64."""
        epoch = cast("pl.Trainer", self.trainer).current_epoch
        batches = self._training.draw_batches(epoch)
        self.batch_statistics = describe_batches(self._training.labels, batches, self._views)
        indexed = [(epoch, step, torch.from_numpy(recordings)) for step, recordings in enumerate(batches)]
        return DataLoader(indexed, batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Any]:
        """Returns the windows of the validation recordings in batches of strip indices and first frames."""
        batch_windows = self._training.batch_recordings * self._views
        batches = list(window_batches(*self._validation.windows, batch_windows))
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Returns the indices unchanged, because crops are drawn on the host."""
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Returns the views of a training batch, or the windows of a validation batch in dB.

        The crops of the views are only the part of this process; labels and targets are of the whole batch.
        """
        if cast("pl.Trainer", self.trainer).training:
            epoch, step, recordings = batch
            views = self._training.make_views(epoch, step, recordings)
            return replace(views, crops=own_part(views.crops))
        rows, firsts = batch
        return gather_windows(self._validation.strips, rows, firsts, self._validation.frames)
