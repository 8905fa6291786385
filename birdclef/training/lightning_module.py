"""The training steps, validation and optimiser of a model as a Lightning module."""

import logging
import math
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from birdclef.config.train import TrainConfig
from birdclef.devices.host_copy import HostCopy
from birdclef.inference.views import aggregate_windows
from birdclef.metrics.calibration import negative_log_likelihood
from birdclef.metrics.classification import accuracy, macro_f1
from birdclef.metrics.predictions import Predictions
from birdclef.metrics.secondary_species import IgnoredPairs
from birdclef.model.network import SpeciesModel, batch_norms, freeze_stages
from birdclef.training.data import Views, derive_seed
from birdclef.training.data_module import SpeciesDataModule
from birdclef.training.distributed import average_gradients, average_statistics, gather_heads, rank
from birdclef.training.embedding_geometry import alignment, uniformity
from birdclef.training.flat_loss import Budget
from birdclef.training.micro_batches import heads_in_chunks
from birdclef.training.non_finite_loss import NonFiniteLossError
from birdclef.training.objective import Objective, count_epochs
from birdclef.training.schedule import rate_factor
from birdclef.training.trainer import SELECTION_SCORE

logger = logging.getLogger(__name__)


class SpeciesLightningModule(pl.LightningModule):
    """Trains a model on views. For `supcon`, the last epochs train the classifier on the frozen encoder.

    Args:
        model: Model to train.
        objective: Loss to minimise.
        config: Settings of the member.
        steps_per_epoch: Batches per epoch.
        validation: Label index of each validation recording, (recordings,), recording of each window, (windows,), and
            pairs of validation recording and secondary species.
    """

    def __init__(
        self,
        model: SpeciesModel,
        objective: Objective,
        config: TrainConfig,
        steps_per_epoch: int,
        validation: tuple[Tensor, Tensor, IgnoredPairs],
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self.budget = Budget(config, steps_per_epoch)
        self._labels, self._window_rows, self._ignored = validation
        self._frozen = freeze_stages(model.backbone, config.model.frozen_stages)
        if config.model.frozen_batch_norm:
            self._frozen += batch_norms(model)
        self._window_logits: list[Tensor] = []
        self._unchecked: tuple[int, int, HostCopy] | None = None

    @property
    def classifying(self) -> bool:
        """Whether the current epoch trains the linear classifier on the frozen encoder."""
        return self._config.objective.kind == "supcon" and self.current_epoch >= self.budget.epochs

    @property
    def validating(self) -> bool:
        """Whether the current epoch ends with validation: every `validate_every` epochs, and the last epoch."""
        done = self.current_epoch + 1
        return done % self._config.validate_every == 0 or done == self.trainer.max_epochs

    def setup(self, stage: str) -> None:
        """Tell the trainer the last epoch that is allowed."""
        self._set_last_epoch()

    def on_train_epoch_start(self) -> None:
        """Put frozen modules into eval mode, so that their batch norm neither adapts nor mixes samples."""
        # Lightning has only a fixed interval, which may skip the last epoch.
        self.trainer.check_val_every_n_epoch = 1 if self.validating else self.current_epoch + 2
        statistics = cast("SpeciesDataModule", self.trainer.datamodule).batch_statistics  # type: ignore[attr-defined]
        self.log_dict(statistics)
        for module in self._frozen:
            module.eval()
        if self.classifying:
            for encoder in (self.model.backbone, self.model.projection):
                encoder.eval()
                encoder.requires_grad_(False)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout and stochastic depth by the step, so that a resumed run draws the same random numbers."""
        self._check_last_loss()
        others = (rank(),) if rank() else ()
        torch.manual_seed(derive_seed(self._config.seed, self.current_epoch, batch_idx, 1, *others))

    def training_step(self, views: Views, batch_idx: int) -> Tensor:
        """Returns the loss of one batch of views."""
        heads = gather_heads(heads_in_chunks(self.model, views.crops, self._config.micro_batch))
        step = self.current_epoch * self._steps_per_epoch + batch_idx
        progress = step / (self.budget.epochs * self._steps_per_epoch)
        losses: dict[str, Tensor] = self.objective(heads, views, classifying=self.classifying, progress=progress)
        for name, value in losses.items():
            self.log(f"train_{name}", value.detach(), on_step=False, on_epoch=True, batch_size=len(views.labels))
        geometry = {"alignment": alignment(heads.embeddings, views.labels), "uniformity": uniformity(heads.embeddings)}
        self.log_dict(geometry, on_step=False, on_epoch=True, batch_size=len(views.labels))
        self._unchecked = (self.current_epoch, batch_idx, HostCopy(losses["loss"].detach()))
        return losses["loss"]

    def on_after_backward(self) -> None:
        """Average gradients and running statistics over all processes."""
        average_gradients(self)
        average_statistics(self.model)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Check the last loss of an epoch before validation."""
        if self.trainer.is_last_batch:
            self._check_last_loss()

    def _check_last_loss(self) -> None:
        """Stop if the loss of the previous step is not finite.

        The check is late so that the host does not wait: the device has computed this loss by now.
        """
        if self._unchecked and not math.isfinite(loss := self._unchecked[2].value()):
            epoch, step, _ = self._unchecked
            raise NonFiniteLossError(epoch, step, loss)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm, and log the norm before clipping."""
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
        labels = self._labels.numpy()
        probabilities = aggregate_windows(logits, self._window_rows, len(labels), "mean").numpy()
        predictions = Predictions(probabilities, None, self._ignored)
        score = float(macro_f1(predictions, labels)[0])
        self.log("val_macro_f1", score, prog_bar=True)
        trained = self._config.objective.kind != "supcon" or self.classifying
        self.log(SELECTION_SCORE, score if trained else -1.0, logger=False)
        self.log("val_accuracy", float(accuracy(predictions, labels)[0]))
        self.log("val_cross_entropy", negative_log_likelihood(probabilities, labels, self._ignored))

    def on_train_epoch_end(self) -> None:
        """Log the progress of the training after each validation; begin the fall of the rate once the loss is flat."""
        metrics = self.trainer.callback_metrics
        if self.budget.end_epoch(metrics["train_loss"].item()):
            self._set_last_epoch()
            following = self.current_epoch + 2  # Lightning counts from 0
            if following <= self.budget.epochs:
                reason, last = self.budget.reason, self.budget.epochs
                logger.info("train: %s; the learning rate falls from epoch %d to epoch %d", reason, following, last)
        if self.validating:
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the budget."""
        checkpoint["budget"] = self.budget.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue with the budget of a killed training."""
        self.budget.load_state_dict(checkpoint["budget"])
        self._set_last_epoch()

    def _set_last_epoch(self) -> None:
        self.trainer.fit_loop.max_epochs = count_epochs(self.budget.epochs, self._config.objective)

    def configure_optimizers(self) -> Any:
        """Returns AdamW with decay on matrices only, a higher rate for heads, and warm-up + cosine in each phase."""
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
        learnt = list(self.objective.parameters())  # no decay: only the direction of these vectors matters
        rate = config.learning_rate * config.head_learning_rate_factor
        groups.append({"params": learnt, "lr": rate, "weight_decay": 0.0})
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_factor(self, step: int) -> float:
        main = self.budget.epochs * self._steps_per_epoch
        if step < main or self._config.objective.kind != "supcon":
            return self.budget.rate_factor(step)
        objective = self._config.objective
        classifier_steps = objective.classifier_epochs * self._steps_per_epoch
        head_rate = self._config.learning_rate * self._config.head_learning_rate_factor
        share = objective.classifier_learning_rate / head_rate
        return share * rate_factor(step - main, classifier_steps, self._config.warmup_share)
