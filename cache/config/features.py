"""Configuration of the features: log-mel, or embeddings by a model."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    field_validator,
    model_validator,
)

from cache.config.embedding_model import EmbeddingModel
from cache.config.noise import NoiseMix
from cache.config.section import Ascending, ConfigSection, Decibels, Frequency, SampleRate, Seconds
from cache.models.description import read_description
from cache.store.encoding import FLOAT16, StoredType, StripEncoding


class FeatureComputation(ConfigSection):
    """Settings of the computation that all kinds of features share."""

    workers: Annotated[int, Field(gt=0, le=4096)] | None = None
    """Number of processes that compute on this machine; null: one per core."""
    cluster: str | None = None
    """Address of a running Dask scheduler, such as tcp://host:8786; null: compute on this machine."""
    timeout_seconds: float = Field(default=300.0, gt=0, le=604_800)
    """A recording is quarantined if its features take longer than this, the load of an embedding model not counted."""
    memory_gb: float = Field(default=8.0, gt=0, le=100_000)
    """A recording is quarantined if its features take more memory than this. The memory of an embedding model does not
    count."""

    @property
    @abstractmethod
    def frames_per_second(self) -> float:
        """Frames per second of audio; those of embeddings are segments."""

    def count_frames(self, seconds: float) -> int:
        """Returns the number of frames in so many seconds of a strip, at least 1."""
        return max(1, round(seconds * self.frames_per_second))


_COMPUTATION = frozenset(FeatureComputation.model_fields)


class LogMelConfig(FeatureComputation):
    """Settings of the log-mel front end and of its computation."""

    kind: Literal["log_mel"] = "log_mel"
    """Strips are log-mel spectrograms."""
    sample_rate: SampleRate = 32_000
    """Sample rate in Hz. Every recording is mixed to mono and resampled to this rate."""
    n_fft: int = Field(default=2048, gt=0, le=32_768)
    """Length of the FFT, in samples; an even number."""
    hop_length: int = Field(default=512, gt=0, le=65_536)
    """Samples from one frame to the next."""
    n_mels: int = Field(default=128, gt=0, le=1024)
    """Number of mel bands (Slaney scale and norm)."""
    fmin: float = Field(default=20.0, ge=0, le=500_000)
    """Lowest frequency of the mel bands, in Hz."""
    fmax: Frequency = 16_000.0
    """Highest frequency of the mel bands, in Hz; at most half of `sample_rate`."""
    floor_db: float = Field(default=-100.0, ge=-65_504, le=65_504)
    """Lowest stored level, in dB re 1; lower levels are raised to it."""
    dtype: StoredType = "float16"
    """Type of the stored values: float16, or uint8 at half the size. uint8 has steps of 0.5 dB from `floor_db` to
    `floor_db` + 127.5."""

    # `kind` is left out so that log-mel stores keep the keys that they had before there was a second kind
    execution_fields: ClassVar[frozenset[str]] = _COMPUTATION | {"kind"}

    @model_validator(mode="after")
    def _check_front_end(self) -> Self:
        if self.n_fft % 2:
            raise ValueError(
                f"n_fft={self.n_fft} is odd, but centred frames need an even length. Set n_fft={self.n_fft + 1}."
            )
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin={self.fmin} and fmax={self.fmax} must satisfy fmin < fmax <= sample_rate / 2 = "
                f"{self.sample_rate / 2}. Lower fmax, or raise sample_rate."
            )
        return self

    @property
    def encoding(self) -> StripEncoding:
        """How stored values stand for decibels."""
        return StripEncoding.of(self.dtype, self.floor_db)

    @property
    def channels(self) -> int:
        """Values per frame of a strip."""
        return self.n_mels

    @property
    def score_columns(self) -> int:
        """Values stored behind each frame of a strip: none."""
        return 0

    @property
    def frames_per_second(self) -> float:
        """Frames per second of audio."""
        return self.sample_rate / self.hop_length

    @property
    def compared_log_mel(self) -> "LogMelConfig":
        """Log-mel used to detect silence and duplicates: the strip itself."""
        return self


class EmbeddingConfig(FeatureComputation):
    """Settings of embeddings by a pretrained bird model, and of their computation."""

    kind: Literal["embedding"]
    """Strips are embeddings, one per segment: the piece of sound that the model takes."""
    model: EmbeddingModel
    """Name of a shipped description (birdnet_v2.4), or path of a description in YAML. `config show` prints the whole
    description with the digests of its files."""
    stride_seconds: Seconds | None = None
    """Time from one segment to the next; null: the value in the model's description."""
    dtype: Literal["float16"] = "float16"
    """Type of the stored values. uint8 is not possible: its steps are made for decibels, and the channels of an
    embedding have different ranges."""
    batch_windows: int = Field(default=1, gt=0, le=10_000)
    """Number of segments per call of the model. 1 is fastest if the activations fit into the cache of a core."""

    background_variants: int = Field(default=2, ge=0, le=1000)
    """Number of noisy copies of each recording that are embedded too, if `data.background` is set. Each copy costs one
    more pass of the model over all recordings."""
    background_snr_db: Ascending[tuple[Decibels, Decibels]] = (3.0, 30.0)
    """Lowest and highest ratio of a recording to the noise in its copy, over the frequencies of `song_hz`, dB."""
    song_hz: tuple[Frequency, Frequency] = (1_000.0, 10_000.0)
    """Lowest and highest frequency of song, Hz. `background_snr_db` compares the power between them. Lower the first
    for owls, doves or bitterns."""

    # the settings of noisy copies are part of `NoiseMix`: the embeddings of the recordings themselves stay as they are
    execution_fields: ClassVar[frozenset[str]] = _COMPUTATION | {
        "batch_windows",
        "background_variants",
        "background_snr_db",
        "song_hz",
    }

    @model_validator(mode="after")
    def _check_song(self) -> Self:
        low, high = self.song_hz
        if not low < min(high, self.sample_rate / 2):
            raise ValueError(
                f"song_hz={list(self.song_hz)} holds no frequency of {self.model.name}, which hears up to "
                f"{self.sample_rate / 2:g} Hz. Set song_hz=[{self.sample_rate / 32:g}, {self.sample_rate / 3:g}]."
            )
        return self

    @field_validator("model", mode="before")
    @classmethod
    def _read_description(cls, model: Any) -> Any:
        return read_description(model) if isinstance(model, str) else model

    def identity(self) -> dict[str, Any]:
        """Returns the fields that define the result; the model is given by its content, not by its path."""
        return {**super().identity(), "model": self.model.identity(), "stride_seconds": 1 / self.frames_per_second}

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz. Every recording is mixed to mono and resampled to this rate."""
        return self.model.sample_rate

    @property
    def encoding(self) -> StripEncoding:
        """How strips are stored: as float16."""
        return FLOAT16

    @property
    def channels(self) -> int:
        """Values of an embedding, one row of a strip."""
        return self.model.channels

    @property
    def score_columns(self) -> int:
        """Values stored behind each row of a strip: the scores of the model's own labels."""
        return self.model.label_count

    @property
    def stride_samples(self) -> int:
        """Samples from one segment to the next."""
        return round((self.stride_seconds or self.model.stride_seconds) * self.sample_rate)

    @property
    def frames_per_second(self) -> float:
        """Segments per second of audio."""
        return self.sample_rate / self.stride_samples

    @property
    def compared_log_mel(self) -> LogMelConfig:
        """Log-mel used to detect silence and duplicates; it is not stored."""
        rate = self.sample_rate
        return LogMelConfig(
            sample_rate=rate, hop_length=max(1, round(rate / _SOUND_FRAMES_PER_SECOND)), fmax=min(16_000.0, rate / 2)
        )


class NoisyEmbeddingConfig(EmbeddingConfig):
    """Settings of the embeddings of noisy copies: noise is mixed with each recording before it is embedded."""

    noise: NoiseMix
    """Noise, and the ratio at which it is mixed."""

    def identity(self) -> dict[str, Any]:
        """Returns the fields that define the result; the noise is given by its content."""
        return {**super().identity(), "noise": self.noise.identity()}

    @property
    def score_columns(self) -> int:
        """Values stored behind each row of a strip: none, because training does not read the scores of a copy."""
        return 0


_SOUND_FRAMES_PER_SECOND = 62.5


def _kind_of(features: Any) -> str:
    """Returns the kind of a features section; what is no section counts as log-mel, whose model refuses it."""
    if isinstance(features, Mapping):
        return str(features.get("kind", "log_mel"))
    return str(getattr(features, "kind", "log_mel"))


FeatureConfig = Annotated[
    Annotated[LogMelConfig, Tag("log_mel")] | Annotated[EmbeddingConfig, Tag("embedding")], Discriminator(_kind_of)
]
"""Features of either kind: strips, (frames, channels), at `frames_per_second`."""

_FEATURES: TypeAdapter[LogMelConfig | EmbeddingConfig] = TypeAdapter(FeatureConfig)


def read_features(config: Mapping[str, Any]) -> LogMelConfig | EmbeddingConfig:
    """Returns the features configuration that an artefact's provenance or description holds as plain values.

    Raises:
        ValueError: If the values are no such configuration, or name the file of a model's description. An artefact
            holds the whole description, and one from elsewhere must not choose a file of this machine.
    """
    if isinstance(model := config.get("model"), str):
        raise ValueError(
            f"features.model={model} of an artefact is no description of a model, so somebody changed the artefact. "
            "Get it again from where it was made."
        )
    return NoisyEmbeddingConfig.model_validate(config) if "noise" in config else _FEATURES.validate_python(dict(config))
