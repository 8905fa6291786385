"""The training loop: a model's training on one fold as Lightning modules."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from birdclef.config import TrainConfig
from birdclef.crops import gather_windows
from birdclef.data import TrainingData, ValidationData, Views, derive_seed, load_validation
from birdclef.fold import FoldData
from birdclef.inference import aggregate_windows, window_batches
from birdclef.metrics import macro_f1
from birdclef.micro_batches import heads_in_chunks
from birdclef.model import SpeciesModel, freeze_stages
from birdclef.objective import compute_losses
from birdclef.sampler import count_orphans
from birdclef.schedule import rate_factor
from birdclef.trainer import BEST_CHECKPOINT, LAST_CHECKPOINT, build_trainer, quiet_lightning

logger = logging.getLogger(__name__)


class EpochBatches(IterableDataset[tuple[int, int, Tensor]]):
    """The index batches of one epoch."""

    def __init__(self, data: TrainingData, epoch: int) -> None:
        self._data = data
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int, Tensor]]:
        return self._data.batches(self._epoch)

    def __len__(self) -> int:
        return self._data.steps_per_epoch


class SpeciesData(pl.LightningDataModule):
    """Feeds index batches and turns them into tensors on the device."""

    def __init__(self, training: TrainingData, validation: ValidationData, batch_windows: int) -> None:
        super().__init__()
        self._training = training
        self._validation = validation
        self._batch_windows = batch_windows

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns the index batches of the current epoch."""
        epoch = cast("pl.Trainer", self.trainer).current_epoch
        return DataLoader(EpochBatches(self._training, epoch), batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """Returns the windows of the validation recordings in batches."""
        batches = list(window_batches(*self._validation.windows, self._batch_windows))
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Returns augmented views of a training batch, or a validation batch's windows in dB."""
        if cast("pl.Trainer", self.trainer).training:
            epoch, step, recordings = batch
            return self._training.make_views(epoch, step, recordings)
        rows, firsts = batch
        place = self._validation.strips.values.device
        return gather_windows(self._validation.strips, rows.to(place), firsts.to(place), self._validation.frames)


class SpeciesTraining(pl.LightningModule):
    """Trains a model on views; for `supcon`, the last epochs train its classifier on the frozen encoder."""

    def __init__(
        self, model: SpeciesModel, config: TrainConfig, steps_per_epoch: int, validation: tuple[Tensor, Tensor]
    ) -> None:
        super().__init__()
        self.model = model
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._labels, self._window_rows = validation
        self._frozen = freeze_stages(model.backbone, config.model.frozen_stages)
        self._window_logits: list[Tensor] = []

    @property
    def classifying(self) -> bool:
        """Whether the current epoch trains the linear classifier on the frozen encoder."""
        return self._config.objective.kind == "supcon" and self.current_epoch >= self._config.epochs

    @property
    def validating(self) -> bool:
        """Whether the current epoch ends with validation: every so many, and the last one."""
        done = self.current_epoch + 1
        return done % self._config.validate_every == 0 or done == self.trainer.max_epochs

    def on_train_epoch_start(self) -> None:
        """Put whatever is frozen into eval mode, where batch norm neither adapts nor mixes samples."""
        # Lightning knows only a fixed interval, which would leave out the last epoch.
        self.trainer.check_val_every_n_epoch = 1 if self.validating else self.current_epoch + 2
        for module in self._frozen:
            module.eval()
        if self.classifying:
            for encoder in (self.model.backbone, self.model.projection):
                encoder.eval()
                encoder.requires_grad_(False)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout and stochastic depth by the step, so that a resumed run draws what an unbroken one does."""
        torch.manual_seed(derive_seed(self._config.seed, self.current_epoch, batch_idx, 1))

    def training_step(self, views: Views, batch_idx: int) -> Tensor:
        """Returns the loss of one batch of views."""
        heads = heads_in_chunks(self.model, views.log_mel, self._config.micro_batch)
        losses = compute_losses(heads, views, self._config.objective, classifying=self.classifying)
        for name, value in losses.items():
            self.log(f"train_{name}", value.detach(), on_step=False, on_epoch=True, batch_size=len(views.labels))
        orphans = count_orphans(views.labels.cpu().numpy(), views.recordings.cpu().numpy())
        self.log("orphan_rate", orphans, on_step=False, on_epoch=True, batch_size=len(views.labels))
        if not torch.isfinite(losses["loss"]):
            raise FloatingPointError(
                f"The loss is {losses['loss'].item()} at epoch {self.current_epoch}, step {batch_idx}. "
                "Lower learning_rate, raise objective.temperature, or set precision=32."
            )
        return losses["loss"]

    def validation_step(self, log_mel: Tensor, batch_idx: int) -> None:
        """Keep the logits of one batch of windows."""
        self._window_logits.append(self.model(log_mel.to(self.device)).float().cpu())

    def on_validation_epoch_end(self) -> None:
        """Log macro-F1, accuracy and cross-entropy of the validation recordings."""
        logits = torch.cat(self._window_logits)
        self._window_logits.clear()
        probabilities = aggregate_windows(logits, self._window_rows, len(self._labels), "mean")
        correct = probabilities.argmax(dim=1) == self._labels
        likelihood = probabilities.gather(1, self._labels.unsqueeze(1)).clamp(min=1e-12).log()
        self.log("val_macro_f1", float(macro_f1(probabilities.numpy(), self._labels.numpy())[0]), prog_bar=True)
        self.log("val_accuracy", correct.float().mean())
        self.log("val_cross_entropy", -likelihood.mean())

    def on_train_epoch_end(self) -> None:
        """Tell how far training is, each time it was validated."""
        if self.validating:
            metrics = self.trainer.callback_metrics
            logger.info(
                "train: epoch %d of %d, loss %.3f, validation macro-F1 %.3f",
                self.current_epoch + 1,
                self.trainer.max_epochs,
                metrics["train_loss"],
                metrics["val_macro_f1"],
            )

    def configure_optimizers(self) -> Any:
        """Returns AdamW with decay on matrices only, faster heads, and warm-up + cosine in each phase."""
        config = self._config
        heads = nn.ModuleList([self.model.projection, self.model.classifier])
        groups = []
        for module, rate in (
            (self.model.backbone, config.learning_rate),
            (heads, config.learning_rate * config.head_learning_rate_factor),
        ):
            parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
            matrices = [parameter for parameter in parameters if parameter.ndim > 1]
            others = [parameter for parameter in parameters if parameter.ndim <= 1]
            groups += [
                {"params": matrices, "lr": rate, "weight_decay": config.weight_decay},
                {"params": others, "lr": rate, "weight_decay": 0.0},
            ]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_factor(self, step: int) -> float:
        main = self._config.epochs * self._steps_per_epoch
        if step < main:
            return rate_factor(step, main, self._config.warmup_share)
        objective = self._config.objective
        classifier_steps = objective.classifier_epochs * self._steps_per_epoch
        head_rate = self._config.learning_rate * self._config.head_learning_rate_factor
        share = objective.classifier_learning_rate / head_rate
        return share * rate_factor(step - main, classifier_steps, self._config.warmup_share)


def fit(model: SpeciesModel, fold: FoldData, config: TrainConfig, directory: Path) -> Path:
    """Train a model, going on from a killed run's last checkpoint; returns the checkpoint that `select` names.

    Args:
        model: With its initial weights.
        fold: Training and validation recordings.
        config: Of this member.
        directory: Gets `checkpoints/` and `logs/`.
    """
    last, best = directory / "checkpoints" / LAST_CHECKPOINT, directory / "checkpoints" / BEST_CHECKPOINT
    with quiet_lightning():
        trainer = build_trainer(config, directory)
        device = trainer.strategy.root_device
        training = TrainingData(fold, config, device)
        model.set_input_statistics(*training.statistics)
        validation = load_validation(fold, config, device)
        batch_windows = training.batch_recordings * config.views
        module = SpeciesTraining(model, config, training.steps_per_epoch, (validation.labels, validation.windows[0]))
        trainer.fit(
            module,
            datamodule=SpeciesData(training, validation, batch_windows),
            ckpt_path=str(last) if last.is_file() else None,
            weights_only=True,
        )
    return best if config.select == "best" else last
