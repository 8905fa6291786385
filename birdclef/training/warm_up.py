"""Makes this process pay, before the cost of a training is measured, for what a process pays only once."""

import tempfile
from functools import cache
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from birdclef.training.trainer import quiet_lightning

_SHAPE = (2, 1, 32, 32)


@cache
def warm_up(accelerator: str) -> None:
    """Train a tiny network for two steps, once per process and accelerator.

    The first training of a process loads modules, such as those of TensorBoard and of the protocols of checkpoints. It
    sets up the thread pools, the kernels and the workspaces of PyTorch, too. Without this, the first run would seem to
    be slower and larger than the next one with the same settings. Random numbers stay those of a process that was not
    warmed up.

    Args:
        accelerator: Value of the setting `accelerator`.
    """
    with quiet_lightning(), torch.random.fork_rng(), tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=1,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            gradient_clip_val=1.0,
            callbacks=[
                ModelCheckpoint(
                    Path(folder) / "checkpoints", monitor="score", mode="max", save_on_train_epoch_end=False
                ),
                LearningRateMonitor("epoch"),
                WeightAveraging(),
            ],
            logger=[CSVLogger(folder, name=None), TensorBoardLogger(folder, name=None)],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        batches: DataLoader[Tensor] = DataLoader([torch.zeros(_SHAPE)] * 2, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(_TinyNetwork(), batches, batches)


class _TinyNetwork(pl.LightningModule):
    """Has one layer of each kind that a backbone spends its time in."""

    def __init__(self) -> None:
        super().__init__()
        self._layers = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        )

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning passes it
        """Returns the loss of one batch, a scalar; the batch is (batch, 1, n_mels, frames)."""
        loss = nn.functional.cross_entropy(
            self._layers(batch), torch.zeros(len(batch), dtype=torch.long).to(batch.device)
        )
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:  # noqa: ARG002 - Lightning passes it
        """Log the score of one batch, (batch, 1, n_mels, frames)."""
        self.log("score", self._layers(batch).mean(), batch_size=len(batch))

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """Returns the optimiser and the schedule, of the kinds that training uses."""
        optimizer = torch.optim.AdamW(self.parameters())
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)]
