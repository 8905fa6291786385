"""Configuration of an embedding model: its file, its input and its outputs."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from cache.config.section import ConfigSection, CountFromZero, SampleRate, Seconds, Width


class EmbeddingModel(ConfigSection):
    """A model that turns windows of sound into embeddings: its file, its input and its outputs."""

    name: str
    """Name of the model in logs and reports."""
    sha256: str
    """sha256 of the model's file."""
    file: str = ""
    """Path of the ONNX or TFLite file; a feature store keeps a copy of the file."""
    format: Literal["onnx", "tflite"]
    """Format of the model's file."""
    licence: str
    """Licence of the weights."""
    sample_rate: SampleRate
    """Sample rate of the model's input, in Hz."""
    window_seconds: Seconds
    """Length of one window of the model."""
    stride_seconds: Seconds
    """Time from one window to the next, unless the experiment sets `stride_seconds`."""
    input: Literal["batch samples", "batch 1 samples", "batch samples 1"] = "batch samples"
    """Shape of the model's input."""
    embedding: str
    """Name of the tensor that holds the embedding, (batch, channels). It must be an output in an ONNX file; in a TFLite
    file it may be any tensor."""
    channels: Width
    """Number of values of an embedding."""
    scores: str | None = None
    """Name of the tensor with the scores of the model's own labels, (batch, labels); null: the model has no labels."""
    score_scale: Literal["logits", "probabilities"] = "logits"
    """Whether the scores are logits (before the sigmoid) or probabilities (after it)."""
    labels: str | None = None
    """Path of the file with the model's own labels, one per line: scientific name, `_`, any text."""
    labels_sha256: str | None = None
    """sha256 of the file of labels."""
    label_count: CountFromZero = 0
    """Number of labels in the file of labels."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"file", "labels"})

    @model_validator(mode="after")
    def _check_scores(self) -> Self:
        if bool(self.scores) != bool(self.label_count):
            raise ValueError(
                f"scores={self.scores} does not go with {self.label_count} labels, because a model scores its labels. "
                f"Give both `scores` and `labels` in the description of {self.name}, or neither."
            )
        return self

    @property
    def window_samples(self) -> int:
        """Length of a window, in samples."""
        return round(self.window_seconds * self.sample_rate)
