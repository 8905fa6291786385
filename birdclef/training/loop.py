"""The training loop: a model's training on one fold as Lightning modules."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from birdclef.config.train import TrainConfig
from birdclef.devices.host_copy import HostCopy
from birdclef.devices.peak_memory import PeakMemory
from birdclef.inference.views import aggregate_windows, window_batches
from birdclef.metrics.classification import macro_f1
from birdclef.metrics.predictions import Predictions
from birdclef.model.network import SpeciesModel, freeze_stages
from birdclef.strips.crops import gather_windows
from birdclef.strips.fold import FoldData
from birdclef.training.data import TrainingData, ValidationData, Views, derive_seed, load_validation
from birdclef.training.distributed import (
    average_gradients,
    average_statistics,
    gather_heads,
    own_part,
    rank,
    synchronise_batch_norm,
)
from birdclef.training.embedding_geometry import alignment, uniformity
from birdclef.training.memory_plan import plan_memory
from birdclef.training.micro_batches import heads_in_chunks
from birdclef.training.objective import Objective, build_objective
from birdclef.training.sampler import describe_batches
from birdclef.training.schedule import rate_factor
from birdclef.training.trainer import BEST_CHECKPOINT, LAST_CHECKPOINT, build_trainer, choose_dtype, quiet_lightning
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)


class SpeciesData(pl.LightningDataModule):
    """Feeds index batches and turns them into tensors on the device."""

    def __init__(self, training: TrainingData, validation: ValidationData, views: int) -> None:
        super().__init__()
        self._training = training
        self._validation = validation
        self._views = views
        self.batch_statistics: dict[str, float] = {}

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns the index batches of the current epoch: epoch, step and recordings, (batch,) int64."""
        epoch = cast("pl.Trainer", self.trainer).current_epoch
        batches = self._training.draw_batches(epoch)
        self.batch_statistics = describe_batches(self._training.labels, batches, self._views)
        indexed = [(epoch, step, torch.from_numpy(recordings)) for step, recordings in enumerate(batches)]
        return DataLoader(indexed, batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Any]:
        """Returns the windows of the validation recordings in batches."""
        batch_windows = self._training.batch_recordings * self._views
        batches = list(window_batches(*self._validation.windows, batch_windows))
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Returns the indices as they are: crops are drawn on the host."""
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Returns augmented views of a training batch, of which only the own part has crops, or windows in dB."""
        if cast("pl.Trainer", self.trainer).training:
            epoch, step, recordings = batch
            views = self._training.make_views(epoch, step, recordings)
            return replace(views, crops=own_part(views.crops))
        rows, firsts = batch
        return gather_windows(self._validation.strips, rows, firsts, self._validation.frames)


class NonFiniteLossError(FloatingPointError):
    """A step whose loss is not a number or infinite."""

    def __init__(self, epoch: int, step: int, loss: float) -> None:
        super().__init__(f"The loss is {loss} at epoch {epoch}, step {step}.")
        self.epoch = epoch
        self.step = step


class SpeciesTraining(pl.LightningModule):
    """Trains a model on views; for `supcon`, the last epochs train its classifier on the frozen encoder."""

    def __init__(
        self,
        model: SpeciesModel,
        objective: Objective,
        config: TrainConfig,
        steps_per_epoch: int,
        validation: tuple[Tensor, Tensor],
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._labels, self._window_rows = validation
        self._frozen = freeze_stages(model.backbone, config.model.frozen_stages)
        self._window_logits: list[Tensor] = []
        self._unchecked: tuple[int, int, HostCopy] | None = None

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
        statistics = cast("SpeciesData", self.trainer.datamodule).batch_statistics  # type: ignore[attr-defined]
        self.log_dict(statistics)
        for module in self._frozen:
            module.eval()
        if self.classifying:
            for encoder in (self.model.backbone, self.model.projection):
                encoder.eval()
                encoder.requires_grad_(False)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout and stochastic depth by the step, so that a resumed run draws what an unbroken one does."""
        self._check_last_loss()
        others = (rank(),) if rank() else ()
        torch.manual_seed(derive_seed(self._config.seed, self.current_epoch, batch_idx, 1, *others))

    def training_step(self, views: Views, batch_idx: int) -> Tensor:
        """Returns the loss of one batch of views."""
        heads = gather_heads(heads_in_chunks(self.model, views.crops, self._config.micro_batch))
        step = self.current_epoch * self._steps_per_epoch + batch_idx
        progress = step / (self._config.epochs * self._steps_per_epoch)
        losses: dict[str, Tensor] = self.objective(heads, views, classifying=self.classifying, progress=progress)
        for name, value in losses.items():
            self.log(f"train_{name}", value.detach(), on_step=False, on_epoch=True, batch_size=len(views.labels))
        geometry = {"alignment": alignment(heads.embeddings, views.labels), "uniformity": uniformity(heads.embeddings)}
        self.log_dict(geometry, on_step=False, on_epoch=True, batch_size=len(views.labels))
        self._unchecked = (self.current_epoch, batch_idx, HostCopy(losses["loss"].detach()))
        return losses["loss"]

    def on_after_backward(self) -> None:
        """Let all processes go on with the same gradients and running statistics."""
        average_gradients(self)
        average_statistics(self.model)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Check the last loss of an epoch before it is validated."""
        if self.trainer.is_last_batch:
            self._check_last_loss()

    def _check_last_loss(self) -> None:
        """Stop if the loss of the step before is not finite; only now, when the device is at its gradient or beyond."""
        if self._unchecked and not math.isfinite(loss := self._unchecked[2].value()):
            epoch, step, _ = self._unchecked
            raise NonFiniteLossError(epoch, step, loss)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm, and log what it was."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self._config.clip_norm)
        self.log("gradient_norm", norm, on_step=False, on_epoch=True, batch_size=1)

    def validation_step(self, crops: Tensor, batch_idx: int) -> None:
        """Keep the logits of one batch of windows."""
        self._window_logits.append(self.model(crops.to(self.device)).float().cpu())

    def on_validation_epoch_end(self) -> None:
        """Log macro-F1, accuracy and cross-entropy of the validation recordings."""
        logits = torch.cat(self._window_logits)
        self._window_logits.clear()
        probabilities = aggregate_windows(logits, self._window_rows, len(self._labels), "mean")
        correct = probabilities.argmax(dim=1) == self._labels
        likelihood = probabilities.gather(1, self._labels.unsqueeze(1)).clamp(min=1e-12).log()
        score = float(macro_f1(Predictions(probabilities.numpy()), self._labels.numpy())[0])
        self.log("val_macro_f1", score, prog_bar=True)
        self.log("val_accuracy", correct.float().mean())
        self.log("val_cross_entropy", -likelihood.mean())

    def on_train_epoch_end(self) -> None:
        """Tell how far training is, each time it was validated."""
        if self.validating:
            metrics = self.trainer.callback_metrics
            epoch, epochs = self.current_epoch + 1, cast("int", self.trainer.max_epochs)
            loss, score = metrics["train_loss"].item(), metrics["val_macro_f1"].item()
            logger.info(
                "train: epoch %d of %d, loss %.3f, validation macro-F1 %.3f",
                epoch,
                epochs,
                loss,
                score,
                extra={"progress": epoch / epochs, "epoch": epoch, "loss": loss, "val_macro_f1": score},
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
        learnt = list(self.objective.parameters())  # directions, whose length means nothing
        rate = config.learning_rate * config.head_learning_rate_factor
        groups.append({"params": learnt, "lr": rate, "weight_decay": 0.0})
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


def fit(model: SpeciesModel, fold: FoldData, config: TrainConfig, workspace: Workspace, directory: Path) -> Path:
    """Train a model, going on from a killed run's last checkpoint; returns the checkpoint that `select` names.

    With several devices this is called in a process of each, by `birdclef.devices.ranks.run_in_ranks`.

    Args:
        model: With its initial weights.
        fold: Training and validation recordings.
        config: Of this member.
        workspace: Where the run will lie.
        directory: Gets `checkpoints/` and `logs/`.

    Raises:
        ValueError: If a batch cannot be split over the devices.
        FloatingPointError: If the loss is not finite.
    """
    last, best = directory / "checkpoints" / LAST_CHECKPOINT, directory / "checkpoints" / BEST_CHECKPOINT
    with quiet_lightning():
        trainer = build_trainer(config, workspace, directory)
        device = trainer.strategy.root_device
        training = TrainingData(fold, config, device)
        if training.batch_recordings % config.devices:
            raise ValueError(
                f"A batch of {training.batch_recordings} recordings cannot be split over devices={config.devices}. Let "
                "recordings_per_species be a multiple of it."
            )
        model.set_input_statistics(*training.statistics)
        if config.devices > 1 and device.type == "cuda":
            model = synchronise_batch_norm(model)
        validation = load_validation(fold, config, device)
        logger.info("train: memory: %s", plan_memory(model, training, config, choose_dtype(config)))
        objective = build_objective(
            config.objective,
            torch.from_numpy(training.class_shares).float(),
            config.model.projection_dim,
            torch.Generator().manual_seed(derive_seed(config.seed, 0)),
        )
        windows = (validation.labels, validation.windows[0])
        module = SpeciesTraining(model, objective, config, training.steps_per_epoch, windows)
        try:
            trainer.fit(
                module,
                datamodule=SpeciesData(training, validation, config.views),
                ckpt_path=str(last) if last.is_file() else None,
                weights_only=True,
            )
        except NonFiniteLossError as error:
            if rank():
                raise FloatingPointError(str(error)) from error
            saved = _save_batch(training, fold, error, directory)
            raise FloatingPointError(
                f"{error} Its batch is in {saved}. Lower learning_rate, raise objective.temperature, or set "
                "precision=32."
            ) from error
    return best if config.select == "best" else last


def fit_and_measure(
    model: SpeciesModel, fold: FoldData, config: TrainConfig, workspace: Workspace, directory: Path
) -> tuple[Path, float | None]:
    """Returns the checkpoint of `fit`, and the memory that it took at its peak in MB."""
    memory = PeakMemory()
    checkpoint = fit(model, fold, config, workspace, directory)
    return checkpoint, memory.read()


def _save_batch(training: TrainingData, fold: FoldData, error: NonFiniteLossError, directory: Path) -> Path:
    """Save the views of a step and the names of their recordings; returns the file."""
    recordings = torch.from_numpy(training.draw_batches(error.epoch)[error.step])
    views = training.make_views(error.epoch, error.step, recordings)
    names = [fold.train["recording_id"][index] for index in views.recordings.tolist()]
    path = directory / "non_finite_batch.pt"
    torch.save({"epoch": error.epoch, "step": error.step, "recordings": names, "crops": views.crops.cpu()}, path)
    return path
