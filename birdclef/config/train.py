"""Configuration of the training of one member."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from birdclef.config.augment import AugmentConfig, EmbeddingAugmentConfig
from birdclef.config.model import ModelConfig
from birdclef.config.objective import ObjectiveConfig
from cache.config.section import ConfigSection, Probability


def _augmented_kind(augment: Any) -> str:
    """Returns the kind of features that augmentation settings are for: settings that only embeddings have tell."""
    given = augment if isinstance(augment, Mapping) else type(augment).model_fields
    own = EmbeddingAugmentConfig.model_fields.keys() - AugmentConfig.model_fields.keys()
    return "embedding" if own & given.keys() else "log_mel"


class TrainConfig(ConfigSection):
    """One member of the ensemble: model, augmentation, objective and optimisation."""

    model: ModelConfig = ModelConfig()
    augment: Annotated[
        Annotated[AugmentConfig, Tag("log_mel")] | Annotated[EmbeddingAugmentConfig, Tag("embedding")],
        Discriminator(_augmented_kind),
    ] = AugmentConfig()
    """Of log-mel, or of embeddings: each has its own settings."""
    objective: ObjectiveConfig = ObjectiveConfig()
    clip_seconds: PositiveFloat = 5.0
    """Length of a crop; on embeddings a whole number of their strides, as all seconds are."""
    crop_choice: Literal["uniform", "active"] = "uniform"
    """Where crops are drawn: anywhere, or half of them where it is loud, or where an embedding model hears birds."""
    views: PositiveInt = 2
    """Augmented crops per recording in a batch."""
    species_per_batch: PositiveInt = 128
    """P of the P x K batch; at most all species of the fold."""
    recordings_per_species: PositiveInt = 4
    """K of the P x K batch."""
    micro_batch: PositiveInt | None = None
    """Views that pass through the model at a time, with the gradient of the whole batch; null: all."""
    species_exponent: Probability = 0.5
    """A species is drawn with probability ∝ (recordings of the species) to this power."""
    epochs: PositiveInt = 30
    """Epochs of the main phase."""
    steps_per_epoch: PositiveInt | None = None
    """Batches per epoch; null: about one pass over the recordings."""
    learning_rate: PositiveFloat = 3e-4
    """Peak learning rate of the backbone."""
    head_learning_rate_factor: PositiveFloat = 10.0
    """The heads learn at this multiple of it."""
    weight_decay: NonNegativeFloat = 1e-2
    """AdamW's decay, on weight matrices only."""
    warmup_share: Probability = 0.05
    """Share of the steps with linear warm-up, before the cosine."""
    clip_norm: PositiveFloat = 1.0
    """Largest gradient norm."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the weight average; 0: off."""
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """Arithmetic of the model; auto: bf16 where the GPU has it, else fp16, and 32 on a CPU."""
    validate_every: PositiveInt = 1
    """Epochs from one validation to the next; the last epoch is always validated."""
    select: Literal["last", "best"] = "last"
    """Epoch whose weights are kept; `best` is chosen on the validation fold and flatters its score."""
    folds: tuple[NonNegativeInt, ...] | None = None
    """Validation folds to train, the same for all members; null: all."""
    seed: int = 0
    """Seed of weights, batches and augmentation."""
    residency: Literal["auto", "device", "host", "stream"] = "auto"
    """Where the strips stay: on the device, in (pinned) host memory, or in the store, from where crops are read one
    batch ahead; auto: the first of these that they fit into."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Lightning accelerator."""

    devices: PositiveInt = 1
    """Processes that train together, each with a device and its part of every batch."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"folds", "residency", "accelerator", "devices"})

    @model_validator(mode="after")
    def _check_objective(self) -> Self:
        if self.augment.mixup_alpha and self.objective.kind != "ce" and self.objective.contrast != "soft":
            raise ValueError(
                f"augment.mixup_alpha={self.augment.mixup_alpha} needs soft labels, which objective.contrast="
                f"'{self.objective.contrast}' cannot carry. Set augment.mixup_alpha=0, objective.contrast=soft or "
                "objective.kind=ce."
            )
        return self
