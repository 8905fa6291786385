"""Configuration of the features: log-mel, or embeddings of a model."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    field_validator,
    model_validator,
)

from cache.config.section import ConfigSection
from cache.models.description import read_description
from cache.store.encoding import FLOAT16, StoredType, StripEncoding


class FeatureComputation(ConfigSection):
    """How features of any kind are computed."""

    workers: PositiveInt | None = None
    """Processes that compute on this machine; null: one per core."""
    cluster: str | None = None
    """Address of a running Dask scheduler, such as tcp://host:8786; null: this machine computes."""
    timeout_seconds: PositiveFloat = 300.0
    """A recording that takes longer to decode is quarantined."""
    memory_gb: PositiveFloat = 8.0
    """A recording that takes more memory to decode is quarantined, beside what an embedding model takes."""


_COMPUTATION = frozenset(FeatureComputation.model_fields)


class LogMelConfig(FeatureComputation):
    """Log-mel front end, and how it is computed."""

    kind: Literal["log_mel"] = "log_mel"
    """Strips are log-mel spectrograms."""
    sample_rate: PositiveInt = 32_000
    """Hz; every recording is mixed to mono and resampled to it."""
    n_fft: PositiveInt = 2048
    """FFT length in samples."""
    hop_length: PositiveInt = 512
    """Samples between frames."""
    n_mels: PositiveInt = 128
    """Mel bands (Slaney scale and norm)."""
    fmin: float = Field(default=20.0, ge=0)
    """Lowest frequency, Hz."""
    fmax: PositiveFloat = 16_000.0
    """Highest frequency, Hz."""
    floor_db: float = -100.0
    """Lowest stored level, dB re 1."""
    dtype: StoredType = "float16"
    """How strips are stored: float16, or uint8 at half the size, in steps of 0.5 dB up to `floor_db` + 127.5."""

    # without `kind`, so that stores keep the keys that they had before there was another
    execution_fields: ClassVar[frozenset[str]] = _COMPUTATION | {"kind"}

    @model_validator(mode="after")
    def _check_front_end(self) -> Self:
        if self.n_fft % 2:
            raise ValueError(f"n_fft={self.n_fft} is odd, and frames are centred: take {self.n_fft + 1}.")
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin={self.fmin} and fmax={self.fmax} must satisfy fmin < fmax <= sample_rate / 2 = "
                f"{self.sample_rate / 2}. Lower fmax, or raise sample_rate."
            )
        return self

    @property
    def encoding(self) -> StripEncoding:
        """How strips are stored."""
        return StripEncoding.of(self.dtype, self.floor_db)

    @property
    def channels(self) -> int:
        """Values of a strip per frame."""
        return self.n_mels

    @property
    def score_columns(self) -> int:
        """Values behind each row of a strip: none."""
        return 0

    @property
    def frames_per_second(self) -> float:
        """Frames of a strip per second of audio."""
        return self.sample_rate / self.hop_length

    def count_frames(self, seconds: float) -> int:
        """Returns the number of frames in so many seconds of a strip, at least 1."""
        return max(1, round(seconds * self.frames_per_second))

    @property
    def compared_log_mel(self) -> "LogMelConfig":
        """Log-mel used to detect silence and duplicates: the strip itself."""
        return self


class EmbeddingModel(ConfigSection):
    """A file that turns windows of sound into embeddings, and how it is fed."""

    name: str
    """What the model is called in logs and reports."""
    sha256: str
    """Of the file."""
    file: str = ""
    """ONNX or TFLite file; a store holds a copy of it."""
    format: Literal["onnx", "tflite"]
    """Of the file."""
    licence: str
    """Terms under which the weights may be used."""
    sample_rate: PositiveInt
    """Hz of the sound that it takes."""
    window_seconds: PositiveFloat
    """Length of a window."""
    stride_seconds: PositiveFloat
    """From one window to the next, unless the experiment says otherwise."""
    input: Literal["batch samples", "batch 1 samples", "batch samples 1"] = "batch samples"
    """Shape of what it takes."""
    embedding: str
    """Tensor that is the embedding, (batch, channels): an output, or in a TFLite file any tensor."""
    channels: PositiveInt
    """Width of the embedding."""
    scores: str | None = None
    """Tensor with a score for each of the model's own labels, (batch, labels); null: it has none."""
    score_scale: Literal["logits", "probabilities"] = "logits"
    """What these are: before the sigmoid, or after it."""
    labels: str | None = None
    """File with the model's own labels, a line each: scientific name, `_`, anything."""
    labels_sha256: str | None = None
    """Of that file."""
    label_count: NonNegativeInt = 0
    """Lines of that file."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"file", "labels"})

    @model_validator(mode="after")
    def _check_scores(self) -> Self:
        if bool(self.scores) != bool(self.label_count):
            raise ValueError(
                f"scores={self.scores} with {self.label_count} labels: a model's scores are those of its own labels. "
                f"Give both `scores` and `labels` in the description of {self.name}, or neither."
            )
        return self

    @property
    def window_samples(self) -> int:
        """Samples of a window."""
        return round(self.window_seconds * self.sample_rate)


class EmbeddingConfig(FeatureComputation):
    """Embeddings of windows by a model that knows birds, and how they are computed."""

    kind: Literal["embedding"]
    """Strips are embeddings, one for each window of the model."""
    model: EmbeddingModel
    """Name of a shipped description (birdnet_v2.4), or path of one in YAML; a shown experiment holds all that it says,
    with the digests of its files."""
    stride_seconds: PositiveFloat | None = None
    """From one window to the next; null: as the model's description says."""
    dtype: Literal["float16"] = "float16"
    """How strips are stored. Not uint8: its steps are for decibels, and an embedding's channels differ in range."""
    batch_windows: PositiveInt = 1
    """Windows that pass through the model at a time; one is fastest on a core whose cache holds its activations."""

    execution_fields: ClassVar[frozenset[str]] = _COMPUTATION | {"batch_windows"}

    @field_validator("model", mode="before")
    @classmethod
    def _read_description(cls, model: Any) -> Any:
        return read_description(model) if isinstance(model, str) else model

    def identity(self) -> dict[str, Any]:
        """Returns the fields that define the result: the model by its content, not by where it lies."""
        return {**super().identity(), "model": self.model.identity(), "stride_seconds": 1 / self.frames_per_second}

    @property
    def sample_rate(self) -> int:
        """Hz; every recording is mixed to mono and resampled to it."""
        return self.model.sample_rate

    @property
    def encoding(self) -> StripEncoding:
        """How strips are stored."""
        return FLOAT16

    @property
    def channels(self) -> int:
        """Values of a strip per window."""
        return self.model.channels

    @property
    def score_columns(self) -> int:
        """Values behind each row of a strip: the scores of the model's own labels."""
        return self.model.label_count

    @property
    def stride_samples(self) -> int:
        """Samples from one window to the next."""
        return round((self.stride_seconds or self.model.stride_seconds) * self.sample_rate)

    @property
    def frames_per_second(self) -> float:
        """Windows per second of audio."""
        return self.sample_rate / self.stride_samples

    def count_frames(self, seconds: float) -> int:
        """Returns the number of frames (windows) in so many seconds of a strip, at least 1."""
        return max(1, round(seconds * self.frames_per_second))

    @property
    def compared_log_mel(self) -> LogMelConfig:
        """Log-mel used to detect silence and duplicates; it is not stored."""
        rate = self.sample_rate
        return LogMelConfig(
            sample_rate=rate, hop_length=max(1, round(rate / _SOUND_FRAMES_PER_SECOND)), fmax=min(16_000.0, rate / 2)
        )


_SOUND_FRAMES_PER_SECOND = 62.5

FEATURE_KINDS = ("log_mel", "embedding")


def _kind_of(features: Any) -> str:
    kind = features.get("kind", "log_mel") if isinstance(features, Mapping) else features.kind
    return str(kind)


FeatureConfig = Annotated[
    Annotated[LogMelConfig, Tag("log_mel")] | Annotated[EmbeddingConfig, Tag("embedding")], Discriminator(_kind_of)
]
"""Features of either kind: strips of (frames, channels) at so many frames per second."""

_FEATURES: TypeAdapter[LogMelConfig | EmbeddingConfig] = TypeAdapter(FeatureConfig)


def read_features(config: Mapping[str, Any]) -> LogMelConfig | EmbeddingConfig:
    """Returns the features that an artefact's provenance or description holds as plain values."""
    return _FEATURES.validate_python(dict(config))
