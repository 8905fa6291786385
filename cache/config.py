"""Typed, frozen configuration of the feature cache: data set, log-mel features and split."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from cache.encoding import StoredType


class ConfigSection(BaseModel):
    """A frozen section of an experiment that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    execution_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how a result is computed, never what it is; they stay out of artefact keys."""

    def identity(self) -> dict[str, Any]:
        """Returns the fields that define the result, as plain JSON values."""
        return self.model_dump(mode="json", exclude=set(self.execution_fields))


class DataConfig(ConfigSection):
    """Where the recordings lie, and which of them are usable."""

    root: str
    """Folder that holds the metadata table and the audio folder."""
    metadata: str = "train_metadata.csv"
    """Table of recordings, one row each, relative to `root`."""
    audio: str = "train_audio"
    """Audio folder that the table's `filename` column is relative to, below `root`."""
    min_seconds: PositiveFloat = 0.5
    """Shorter recordings are quarantined."""
    silence_db: float = -60.0
    """Recordings whose loudest mel power (dB) stays below this are quarantined as silent."""
    max_quarantined_share: float = Field(default=0.1, ge=0, le=1)
    """The build fails if a larger share of the recordings is unusable."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"root", "metadata", "audio", "max_quarantined_share"})


class FeatureConfig(ConfigSection):
    """Log-mel front end, and how it is computed."""

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

    workers: PositiveInt | None = None
    """Processes that compute on this machine; null: one per core."""
    cluster: str | None = None
    """Address of a running Dask scheduler, such as tcp://host:8786; null: this machine computes."""
    timeout_seconds: PositiveFloat = 300.0
    """A recording that takes longer to decode is quarantined."""
    memory_gb: PositiveFloat = 8.0
    """A recording that takes more memory to decode is quarantined."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"workers", "cluster", "timeout_seconds", "memory_gb"})

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
    def frames_per_second(self) -> float:
        """Frames of a strip per second of audio."""
        return self.sample_rate / self.hop_length


class SplitConfig(ConfigSection):
    """Grouped, stratified folds."""

    folds: int = Field(default=5, ge=2)
    """Number of folds."""
    seed: int = 42
    """Seed of the fold assignment."""
    group_by: str = "recordist"
    """What must not be on both sides: `recordist`; `recordist+place`, within 0.1 degrees; `recording`, nothing but
    duplicates; or a column of the table of recordings, such as a site's name."""
    fold_column: str | None = None
    """Column of the table that gives each recording's fold: 0 to folds - 1, or -1 for training only; null: assigned."""
    test_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of the recordings held out, group by group, from training and validation: one part in 2, 3, 4, ..."""
    keep_folds_of: Annotated[str, Field(pattern=r"^(champion|[0-9a-f]{16})$")] | None = None
    """Split whose recordings keep their folds when others come or go: its key, or `champion` for the champion's, which
    flows replace by its key; null: all are assigned anew. A split of other settings, and `fold_column`, keep none."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"keep_folds_of"})  # it is an input of the split instead

    @model_validator(mode="after")
    def _check_fold_source(self) -> Self:
        if self.fold_column and self.test_share:
            raise ValueError(
                f"test_share={self.test_share} cannot be held out of the folds that fold_column='{self.fold_column}' "
                "gives: set test_share=0, or leave the recordings out of the table."
            )
        if self.test_share and abs(1 / self.test_share - round(1 / self.test_share)) > 0.01 / self.test_share:
            parts = round(1 / self.test_share)
            raise ValueError(
                f"test_share={self.test_share} is not one part in a whole number: take {1 / parts:.4g} (1/{parts})."
            )
        return self
