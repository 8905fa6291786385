"""Configuration of one member's training."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from birdclef.config.augment import AugmentConfig, EmbeddingAugmentConfig
from birdclef.config.model import POOLS, ModelConfig
from birdclef.config.objective import ObjectiveConfig
from cache.config.section import (
    Amount,
    AmountFromZero,
    ConfigSection,
    Count,
    CountFromZero,
    Probability,
    Seconds,
    refuse_in_one_sentence,
)


class _OnEmbeddings(dict[str, Any]):
    """Settings of augmentation, not yet checked, of a member that reads embeddings."""


def _augmented_kind(augment: Any) -> str:
    """Returns the kind of features that augmentation settings are for."""
    return "embedding" if isinstance(augment, _OnEmbeddings | EmbeddingAugmentConfig) else "log_mel"


class TrainConfig(ConfigSection):
    """Settings of one member of the ensemble: model, augmentation, objective and optimiser."""

    model: ModelConfig = ModelConfig()
    augment: Annotated[
        Annotated[AugmentConfig, Tag("log_mel")] | Annotated[EmbeddingAugmentConfig, Tag("embedding")],
        Discriminator(_augmented_kind),
    ] = Field(default_factory=dict, validate_default=True)
    """Augmentation. Log-mel and embeddings have different settings. `model.backbone` tells which of both is read."""
    objective: ObjectiveConfig = ObjectiveConfig()
    clip_seconds: Seconds = 5.0
    """Length of a crop, s. On embeddings it must be a multiple of the embedding model's stride."""
    crop_choice: Literal["uniform", "active"] = "uniform"
    """`uniform` draws crops anywhere in a recording. `active` draws half of the crops where the recording is loud, or,
    on embeddings, where the embedding model hears birds."""
    views: int = Field(default=2, gt=0, le=1000)
    """Number of augmented crops of each recording in a batch."""
    species_per_batch: Count = 128
    """Number of species in a batch; at most the number of species in the fold."""
    recordings_per_species: Count = 4
    """Number of recordings of each species in a batch."""
    micro_batch: Count | None = None
    """Number of views that pass through the model at a time; null: the whole batch. A lower number saves memory. The
    loss is still that of the whole batch, but batch norm sees one micro-batch at a time."""
    species_exponent: Probability = 0.5
    """A species is drawn with a probability proportional to its number of recordings to this power: 0 draws all species
    equally often, 1 as often as they are recorded."""
    epochs: Annotated[Count | Literal["auto"], refuse_in_one_sentence("a whole number from 1 to 1000000, or auto")] = 30
    """Number of epochs. `objective.kind=supcon` adds `objective.classifier_epochs`. `auto` trains at the peak learning
    rate until the training loss is flat, and then a third longer while the rate falls."""
    max_epochs: Count = 300
    """Largest number of epochs with `epochs=auto`."""
    max_steps: int = Field(default=0, ge=0, le=1_000_000_000)
    """With `epochs=auto`, training may go on beyond `max_epochs` up to this number of steps: few recordings make short
    epochs."""
    steps_per_epoch: Count | None = None
    """Number of batches per epoch; null: about one pass over the recordings."""
    learning_rate: Amount = 3e-4
    """Peak learning rate of the backbone."""
    head_learning_rate_factor: Amount = 10.0
    """The peak learning rate of the heads is `learning_rate` times this factor."""
    weight_decay: AmountFromZero = 1e-2
    """Weight decay of AdamW. It applies to weight matrices only."""
    warmup_share: Probability = 0.05
    """Share of the steps in which the learning rate rises linearly. After that it falls as a cosine; with `epochs=auto`
    it falls only once the loss is flat, or the largest number of epochs is near."""
    clip_norm: Amount = 1.0
    """Largest norm of the gradient; a larger gradient is scaled down."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the moving average of the weights; 0 switches the average off."""
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """Number format of the model. `auto` takes bf16 on a GPU that has it, fp16 on other GPUs, and 32 on a CPU."""
    validate_every: Count = 1
    """Number of epochs from one validation to the next. The last epoch is always validated."""
    select: Literal["last", "best"] = "last"
    """Epoch whose weights are kept. `best` is chosen on the validation fold, so its score there is too optimistic."""
    folds: tuple[CountFromZero, ...] | None = None
    """Validation folds to train, the same for all members; null: all folds."""
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    """Seed of the initial weights, the batches and the augmentation."""
    residency: Literal["auto", "device", "host", "stream"] = "auto"
    """Place of the strips during training: `device` is GPU memory, `host` is main memory, and `stream` reads each
    batch from the store in advance. `auto` takes the first of these that has room."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Accelerator that Lightning uses; `auto` takes a GPU if there is one."""

    devices: int = Field(default=1, gt=0, le=1024)
    """Number of devices that train together. Each has its own process and takes its part of every batch."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"folds", "residency", "accelerator", "devices"})

    def most_epochs(self, steps_per_epoch: int) -> int:
        """Number of epochs, or the largest possible number with `epochs=auto`; without the classifier of `supcon`."""
        if self.epochs != "auto":
            return self.epochs
        return max(self.max_epochs, math.ceil(self.max_steps / steps_per_epoch))

    @field_validator("augment", mode="before")
    @classmethod
    def _tell_kind(cls, augment: Any, others: ValidationInfo) -> Any:
        """Returns settings of augmentation, marked if the member reads embeddings."""
        if "model" not in others.data:  # the model is refused, so nothing tells the kind
            return AugmentConfig()
        embeds = others.data["model"].backbone in POOLS
        return _OnEmbeddings(augment) if embeds and isinstance(augment, Mapping) else augment

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        needs_length = {
            "objective.kind=supcon": self.objective.kind == "supcon",
            "objective.contrastive_schedule=falling": self.objective.contrastive_schedule == "falling",
        }
        for setting, chosen in needs_length.items():
            if self.epochs == "auto" and chosen:
                raise ValueError(
                    f"{setting} needs a number of epochs, but epochs=auto has none in advance. Set epochs=100."
                )
        return self

    @model_validator(mode="after")
    def _check_objective(self) -> Self:
        if self.augment.mixup_alpha and self.objective.kind != "ce" and self.objective.contrast != "soft":
            raise ValueError(
                f"augment.mixup_alpha={self.augment.mixup_alpha} needs soft labels, which objective.contrast="
                f"'{self.objective.contrast}' cannot carry. Set augment.mixup_alpha=0, objective.contrast=soft or "
                "objective.kind=ce."
            )
        return self
