"""Typed, frozen configuration of training, prediction and evaluation."""

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

from cache.config import ConfigSection

ContrastKind = Literal["supcon", "balanced", "prototype", "parametric", "soft"]
DetectionFormat = Literal["submission", "long", "raven", "audacity"]
EnsembleMethod = Literal["mean", "geometric", "rms", "rank", "fitted"]
Probability = Annotated[float, Field(ge=0, le=1)]


POOLS = ("mean_pool", "attention_pool")
"""What `model.backbone` may be for embeddings."""


class ModelConfig(ConfigSection):
    """Backbone and heads."""

    backbone: str = "tf_efficientnet_b0"
    """Any timm model name; for embeddings `mean_pool` or `attention_pool` over the windows of a crop."""
    pool_hidden: PositiveInt = 512
    """Width of the hidden layer behind such a pool."""
    weights: str = "none"
    """`none` trains from scratch, `hub` fetches timm's pretrained weights, anything else is a local weight file."""
    normalisation: Literal["dataset", "channel", "band_median"] = "band_median"
    """Input is standardised over the data set, all together or each channel for itself; or each band is taken relative
    to its median over the crop, which removes the microphone's colour and steady background."""
    frozen_stages: NonNegativeInt = 0
    """Leading stages that stay frozen, batch norm included; the stem is the first."""
    dropout: Probability = 0.0
    """Dropout before the classifier, and before a pool's hidden layer."""
    drop_path: Probability = 0.0
    """Stochastic depth in the backbone."""
    projection_hidden: PositiveInt = 512
    """Hidden width of the projection head."""
    projection_dim: PositiveInt = 128
    """Width of the embedding that the contrastive loss sees."""
    classifier_on: Literal["features", "embedding"] = "features"
    """What the linear classifier reads: pooled backbone features, or the embedding (the original recipe)."""


class AugmentConfig(ConfigSection):
    """Augmentation of cached log-mel crops on the device; each is drawn per view."""

    gain_probability: Probability = 0.5
    """Share of views that get a gain."""
    gain_db: NonNegativeFloat = 6.0
    """Gain drawn from ± this, dB."""
    background_probability: Probability = 0.5
    """Share of views that get a background crop added in power."""
    background_snr_db: tuple[float, float] = (3.0, 30.0)
    """Range of the signal-to-background ratio, dB."""
    noise_probability: Probability = 0.2
    """Share of views that get Gaussian noise added in power."""
    noise_snr_db: tuple[float, float] = (3.0, 30.0)
    """Range of the signal-to-noise ratio, dB."""
    stretch_probability: Probability = 0.2
    """Share of views that are stretched in time."""
    stretch_rate: tuple[PositiveFloat, PositiveFloat] = (0.9, 1.1)
    """Range of the playback rate."""
    warp_probability: Probability = 0.3
    """Share of views that are warped in time."""
    warp_frames: NonNegativeInt = 20
    """Largest shift of the warped point, frames."""
    mask_probability: Probability = 0.5
    """Share of views that get each of the masks below."""
    frequency_masks: NonNegativeInt = 2
    """Masks over bands."""
    frequency_mask_share: Probability = 0.1
    """Largest share of the bands under one mask."""
    time_masks: NonNegativeInt = 2
    """Masks over frames."""
    time_mask_share: Probability = 0.2
    """Largest share of the frames under one mask."""
    mixup_alpha: NonNegativeFloat = 0.0
    """Beta parameter of mixup; 0: off. Needs an objective that carries soft labels: `ce`, or contrast `soft`."""


class EmbeddingAugmentConfig(ConfigSection):
    """Augmentation of crops of embeddings on the device; each is drawn per view."""

    noise_share: NonNegativeFloat = 0.2
    """Deviation of Gaussian noise, in deviations of the channel."""
    noise_probability: Probability = 0.5
    """Share of views that get it."""
    channel_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the channels that are 0 in all windows of a view."""
    mixup_alpha: NonNegativeFloat = 0.0
    """Beta parameter of mixup; 0: off. Needs an objective that carries soft labels: `ce`, or contrast `soft`."""


class ObjectiveConfig(ConfigSection):
    """What training minimises."""

    kind: Literal["ce", "supcon", "joint"] = "joint"
    """Cross-entropy; supervised contrastive loss and then a linear classifier; or their sum."""
    contrast: ContrastKind = "supcon"
    """Supervised contrastive loss; balanced over classes, with prototypes; against the prototypes of the batch; with
    parametric centres; or with soft labels."""
    temperature: PositiveFloat = 0.1
    """Softmax temperature of the contrastive loss."""
    same_recording_weight: Probability = 0.5
    """Weight, in `supcon` contrast, of positives that are crops of the anchor's own recording; 0 ignores them."""
    contrastive_weight: PositiveFloat = 1.0
    """Weight of the contrastive term in `joint`."""
    contrastive_schedule: Literal["constant", "falling"] = "constant"
    """Whether that weight falls to nothing over the training: features first, then the classifier."""
    label_smoothing: Probability = 0.05
    """Of the cross-entropy only."""
    logit_adjustment: NonNegativeFloat = 0.0
    """Strength of the class prior that is added to the logits in training, 1 aims at the balanced error; 0: off."""
    classifier_epochs: PositiveInt = 10
    """Epochs of the linear classifier on the frozen encoder, after `epochs` of `supcon`."""
    classifier_learning_rate: PositiveFloat = 1e-2
    """Peak learning rate of that classifier."""

    def contrastive_weight_at(self, progress: float) -> float:
        """Returns the weight of the contrastive term when a share of the training's steps, in [0, 1], lies behind.

        It falls as a parabola does, after the curriculum of Wang et al. 2021, https://arxiv.org/abs/2103.14267.
        """
        return self.contrastive_weight * (1 - progress**2 if self.contrastive_schedule == "falling" else 1)


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


class PredictConfig(ConfigSection):
    """Windows and test-time augmentation."""

    stride_seconds: PositiveFloat = 2.5
    """Step between windows."""
    shift_seconds: tuple[float, ...] = (0.0,)
    """One view per shift of the window grid."""
    gain_db: tuple[float, ...] = (0.0,)
    """One view per gain, for each shift of the grid."""
    shift_bands: tuple[int, ...] = (0,)
    """One view per shift of the spectrum by whole mel bands, up or down, for each gain."""
    view_weights: tuple[PositiveFloat, ...] | None = None
    """How much each view counts, in the order of the report's table of views; none: all alike."""
    aggregation: Literal["mean", "max", "top3"] = "mean"
    """How a recording's score comes from its windows: mean of logits, maximum, or mean of the three highest."""
    batch_windows: PositiveInt = 64
    """Windows per forward pass."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"batch_windows"})

    @model_validator(mode="after")
    def _weigh_each_view(self) -> Self:
        views = len(self.shift_seconds) * len(self.gain_db) * len(self.shift_bands)
        if self.view_weights is not None and len(self.view_weights) != views:
            raise ValueError(
                f"view_weights has {len(self.view_weights)} values for {views} views "
                "(shift_seconds x gain_db x shift_bands): give one for each, or null"
            )
        return self


class EvaluateConfig(ConfigSection):
    """Metrics and report."""

    ensemble: EnsembleMethod = "mean"
    """How members' probabilities are combined; `fitted` weighs the members by cross-fitting."""
    bootstrap_samples: PositiveInt = 1000
    """Resamples of the groups (recordists) behind each interval."""
    permutations: PositiveInt = 100
    """Shuffles of the predictions behind each chance floor."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals."""
    worst_errors: NonNegativeInt = 8
    """Most confident mistakes shown with spectrograms."""
    clip_megabytes: NonNegativeFloat = 4.0
    """Most that the sounds of the mistakes may add to the report; 0 leaves them out."""
    map_recordings: NonNegativeInt = 2000
    """Most recordings in the map of embeddings; 0 leaves it out."""
    seed: int = 0
    """Seed of bootstrap and permutations."""


class PromoteConfig(ConfigSection):
    """When a report takes the champion's place."""

    margin: Probability = 0.02
    """Loss of macro-F1 that is tolerated: the whole interval of the difference must lie above minus this."""
