"""Configuration of windows and test-time augmentation."""

from typing import ClassVar, Literal, Self

from pydantic import (
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from cache.config.section import ConfigSection

DetectionFormat = Literal["submission", "long", "raven", "audacity"]


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
