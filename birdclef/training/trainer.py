"""Builds Lightning's trainer: devices, precision, weight average, checkpoints, logs and progress bar."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import pandas as pd
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn

from birdclef.config.train import TrainConfig
from birdclef.devices.ranks import launched_rank
from birdclef.training.checkpoints import BEST_CHECKPOINT, LAST_CHECKPOINT
from birdclef.training.distributed import GatheredStrategy
from cache.workspace.publication import CHECKPOINTS
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

SELECTION_SCORE = "selection_score"
"""Name of the score by which an epoch is chosen: validation macro-F1, and below all of them where the classifier of
`supcon` is not trained yet."""
_SECONDS_BETWEEN_COPIES = 60.0
_PRECISIONS: dict[torch.dtype, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    torch.float32: "32-true",
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
}
_EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # a batch is only indices
    ".*IterableDataset. has .__len__. defined.*",  # no second loader process iterates over it
    ".*exists and is not empty.*",  # a killed run continues in its directory
    ".*LeafSpec.* is deprecated.*",
    ".*sync_dist=True.*",  # logged values are the same in every process
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's tips and the warnings that this project's training always causes."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for expected in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=expected)
        yield


class MovingAverage(WeightAveraging):
    """Exponential moving average of weights and buffers. Its decay rises at the start, so that short runs profit too.

    At `restart_epoch` the model takes the averaged weights and a new average begins. So the encoder that is frozen from
    then on is the averaged one, and the classifier learns on the encoder that prediction will use.

    Args:
        decay: Decay after the rise, in [0, 1).
        restart_epoch: Epoch of the new average; None: there is only one average.
    """

    def __init__(self, decay: float, restart_epoch: int | None) -> None:
        super().__init__()
        self._decay = decay
        self._restart_epoch = restart_epoch

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keep the average on the model's device, and the number of updates on the host, which reads it."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            self._average_model.n_averaged = torch.zeros((), dtype=torch.long)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Update the average after each optimiser step; PyTorch's own update would wait for the device."""
        if self._average_model is not None and trainer.global_step > self._latest_update_step:
            updates = self._average_model.n_averaged
            kept = ((1 + updates) / (10 + updates)).clamp(max=self._decay) if updates else torch.zeros(())
            self._lerp(self._average_model.module, pl_module, (1 - kept).item())
            updates += 1
            self._latest_update_step = trainer.global_step

    @staticmethod
    @torch.no_grad()
    def _lerp(average: nn.Module, model: nn.Module, weight: float) -> None:
        averaged, current = ([*module.parameters(), *module.buffers()] for module in (average, model))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, weight)
            else:
                old.copy_(new)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a new average at `restart_epoch`."""
        if trainer.current_epoch == self._restart_epoch and self._average_model is not None:
            self._copy_average_to_current(pl_module)
            self._average_model.n_averaged.zero_()


class TimeSplit(pl.Callback):
    """Logs how many seconds of an epoch go to waiting for batches, to training steps, and to validation.

    On a GPU these are seconds of the host. Queued work counts where the host waits for it.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._seconds = {"data": 0.0, "step": 0.0, "validation": 0.0}

    def _lap(self, part: str) -> None:
        now = time.perf_counter()
        self._seconds[part] += now - self._since
        self._since = now

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start the clock of the wait for the first batch."""
        self._since = time.perf_counter()
        self._seconds = dict.fromkeys(self._seconds, 0.0)

    def on_train_batch_start(self, *_: Any) -> None:
        """Count the time since the last step as waiting for data."""
        self._lap("data")

    def on_train_batch_end(self, *_: Any) -> None:
        """Count the time since the batch came as the training step."""
        self._lap("step")

    def on_validation_end(self, *_: Any) -> None:
        """Count the time since the last step as validation."""
        self._lap("validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Log the epoch's seconds."""
        pl_module.log_dict({f"seconds_{part}": seconds for part, seconds in self._seconds.items()})


class KeepCheckpoints(pl.Callback):
    """Copies checkpoints to the workspace, so that another machine can continue if this machine is lost."""

    def __init__(self, workspace: Workspace, directory: Path) -> None:
        self._workspace = workspace
        self._directory = directory
        self._kept = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Keep the checkpoints of the previous epoch, at most once a minute."""
        if trainer.is_global_zero and time.monotonic() - self._kept > _SECONDS_BETWEEN_COPIES:
            self._workspace.keep_unfinished(self._directory, last=f"{CHECKPOINTS}/{LAST_CHECKPOINT}")
            self._kept = time.monotonic()


def build_trainer(config: TrainConfig, workspace: Workspace, directory: Path) -> pl.Trainer:
    """Returns a trainer that keeps the best and the last checkpoint and logs to CSV and TensorBoard.

    Args:
        config: Settings of the member.
        workspace: Workspace that will hold the run.
        directory: Directory for `checkpoints/` and `logs/`; a killed run continues from the files there.
    """
    checkpoints = directory / CHECKPOINTS
    callbacks: list[pl.Callback] = [
        ModelCheckpoint(
            checkpoints,
            filename=Path(BEST_CHECKPOINT).stem,
            monitor=SELECTION_SCORE,
            mode="max",
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        ),
        ModelCheckpoint(
            checkpoints,
            filename=Path(LAST_CHECKPOINT).stem,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        LearningRateMonitor("epoch"),
        KeepCheckpoints(workspace, directory),
        TimeSplit(),
    ]
    if config.ema_decay:
        restart_epoch = config.epochs if config.objective.kind == "supcon" and config.epochs != "auto" else None
        callbacks.append(MovingAverage(config.ema_decay, restart_epoch))
    interactive = sys.stderr.isatty()
    if interactive:
        callbacks.append(TQDMProgressBar(leave=True))
    return pl.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        strategy=GatheredStrategy() if config.devices > 1 else "auto",
        use_distributed_sampler=False,
        precision=_PRECISIONS[choose_dtype(config)],
        max_epochs=-1,  # the module knows the last epoch
        gradient_clip_val=config.clip_norm,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=callbacks,
        logger=[_continue_log(directory), TensorBoardLogger(directory, name=None, version="logs")],
        enable_progress_bar=interactive,
        enable_model_summary=False,
    )


def _continue_log(directory: Path) -> CSVLogger:
    """Returns the CSV log, with the rows that a killed run wrote before its last checkpoint."""
    log, checkpoint = directory / "logs" / "metrics.csv", directory / CHECKPOINTS / LAST_CHECKPOINT
    continued = not launched_rank() and log.is_file() and checkpoint.is_file()
    earlier = _read_log(log) if continued else []
    csv_logger = CSVLogger(directory, name=None, version="logs", flush_logs_every_n_steps=1)
    if earlier:
        log.unlink()
        reached = torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]
        for row in earlier:
            step = row.pop("step")
            if step < reached:
                csv_logger.log_metrics(row, step=int(step))
    return csv_logger


def _read_log(log: Path) -> list[dict[str, Tensor | float]]:
    """Returns the complete rows of a log; no rows if the process was killed while it wrote the header."""
    try:
        # A power failure may leave zeros instead of the last rows.
        table = pd.read_csv(log).apply(pd.to_numeric, errors="coerce").dropna(subset="step")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, KeyError):
        logger.warning("%s is incomplete because the run was killed; the learning curves start at the checkpoint", log)
        return []
    return [{str(name): float(value) for name, value in row.dropna().items()} for _, row in table.iterrows()]


def choose_dtype(config: TrainConfig) -> torch.dtype:
    """Returns the number format of the forward pass in a member's training."""
    named = {"32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if config.precision != "auto":
        return named[config.precision]
    if config.accelerator == "cpu" or not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
