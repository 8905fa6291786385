"""Trains a model on one fold with Lightning."""

import logging
import time
from pathlib import Path

import torch

from birdclef.config.train import TrainConfig
from birdclef.devices.free_memory import free_bytes
from birdclef.devices.peak_memory import PeakMemory
from birdclef.model.network import SpeciesModel
from birdclef.strips.fold import FoldData
from birdclef.training.checkpoints import BEST_CHECKPOINT, LAST_CHECKPOINT, find_checkpoint
from birdclef.training.data import TrainingData, ValidationData, derive_seed, load_validation
from birdclef.training.data_module import SpeciesDataModule
from birdclef.training.distributed import rank, synchronise_batch_norm
from birdclef.training.lightning_module import SpeciesLightningModule
from birdclef.training.memory_plan import check_memory, plan_memory
from birdclef.training.non_finite_loss import NonFiniteLossError, save_batch
from birdclef.training.objective import build_objective
from birdclef.training.trainer import build_trainer, choose_dtype, quiet_lightning
from cache.workspace.publication import CHECKPOINTS
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)


def fit(model: SpeciesModel, fold: FoldData, config: TrainConfig, workspace: Workspace, directory: Path) -> Path:
    """Train a model and return the checkpoint that `select` names. A killed run continues from its last checkpoint.

    With several devices, `birdclef.devices.ranks.run_in_ranks` calls this in one process per device.

    Args:
        model: Model with its initial weights.
        fold: Training and validation recordings.
        config: Settings of the member.
        workspace: Workspace that will hold the run.
        directory: Directory for `checkpoints/` and `logs/`.

    Raises:
        ValueError: If a batch cannot be split over the devices.
        FloatingPointError: If the loss is not finite.
    """
    checkpoints = directory / CHECKPOINTS
    reached = find_checkpoint(checkpoints)
    with quiet_lightning():
        trainer = build_trainer(config, workspace, directory)
        device = trainer.strategy.root_device
        training = TrainingData(fold, config, device)
        if training.batch_recordings % config.devices:
            raise ValueError(
                f"A batch of {training.batch_recordings} recordings cannot be split over devices={config.devices}. Set "
                f"recordings_per_species to a multiple of {config.devices}."
            )
        validation = load_validation(fold, config, device)
        try:
            trainer.fit(
                _prepare(model, training, validation, config, device),
                datamodule=SpeciesDataModule(training, validation, config.views),
                ckpt_path=str(reached) if reached else None,
                weights_only=True,
            )
        except NonFiniteLossError as error:
            if rank():
                raise FloatingPointError(str(error)) from error
            saved = save_batch(training, fold, error, directory)
            raise FloatingPointError(
                f"{error} Its batch is in {saved}. Lower learning_rate, raise objective.temperature, or set "
                "precision=32."
            ) from error
    return checkpoints / (BEST_CHECKPOINT if config.select == "best" else LAST_CHECKPOINT)


def _prepare(
    model: SpeciesModel,
    training: TrainingData,
    validation: ValidationData,
    config: TrainConfig,
    device: torch.device,
) -> SpeciesLightningModule:
    """Returns the Lightning module of a model that knows its input statistics; logs the memory that it will need."""
    model.set_input_statistics(*training.statistics)
    if config.devices > 1 and device.type == "cuda":
        model = synchronise_batch_norm(model)
    if config.species_per_batch > training.species:
        logger.info(
            "train: species_per_batch=%d is more than the %d species in training; a batch holds %d recordings",
            *(config.species_per_batch, training.species, training.batch_recordings),
        )
    plan = plan_memory(model, training, config, choose_dtype(config))
    logger.info("train: memory: %s", plan)
    sharing = 1 if device.type == "cuda" else config.devices  # processes on one machine share its memory
    check_memory(plan, free_bytes(device) // sharing)
    objective = build_objective(
        config.objective,
        torch.from_numpy(training.class_shares).float(),
        config.model.projection_dim,
        torch.Generator().manual_seed(derive_seed(config.seed, 0)),
    )
    scored = (validation.labels, validation.windows[0], validation.ignored)
    return SpeciesLightningModule(model, objective, config, training.steps_per_epoch, scored)


def fit_and_measure(
    model: SpeciesModel, fold: FoldData, config: TrainConfig, workspace: Workspace, directory: Path
) -> tuple[Path, float, float | None]:
    """Returns the checkpoint of `fit`, its seconds, and its peak memory, MB (None if the system does not report it)."""
    started, memory = time.monotonic(), PeakMemory()
    checkpoint = fit(model, fold, config, workspace, directory)
    return checkpoint, time.monotonic() - started, memory.read()
