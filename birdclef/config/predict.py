"""Configuration of prediction: windows and test-time views."""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from cache.config.section import ConfigSection

DetectionFormat = Literal["submission", "long", "raven", "audacity"]


class ViewConfig(NamedTuple):
    """One combination of the settings of test-time views, with its weight."""

    shift_seconds: float
    gain_db: float
    shift_bands: int
    weight: float


class PredictConfig(ConfigSection):
    """Settings of the windows and the test-time views."""

    stride_seconds: PositiveFloat = 2.5
    """Seconds from the start of one window to the start of the next, in the recordings of the data set. In new
    recordings each window begins where the one before ends."""
    shift_seconds: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0,)
    """Shifts of all windows in time, s. Each shift is a view."""
    gain_db: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0,)
    """Gains, dB. Each gain is a view, for each shift in time. With `model.normalisation=band_median` only 0 is allowed,
    because it removes every gain."""
    shift_bands: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Shifts of the spectrum by whole mel bands, up (positive) or down. Each shift is a view, for each gain."""
    view_weights: tuple[PositiveFloat, ...] | None = None
    """Weight of each view, in the order of the report's table of views; null: all views have the same weight."""
    aggregation: Literal["mean", "max", "top3"] = "mean"
    """Method that combines the logits of the windows into the score of a recording of the data set: their mean, their
    maximum, or the mean of the three highest."""
    batch_windows: PositiveInt = 64
    """Number of windows per forward pass, also where the report predicts again. Lower it if memory runs out."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"batch_windows"})

    @model_validator(mode="after")
    def _weigh_each_view(self) -> Self:
        views = len(list(self._combinations()))
        if self.view_weights is not None and len(self.view_weights) != views:
            raise ValueError(
                f"view_weights has {len(self.view_weights)} values for {views} views "
                "(shift_seconds x gain_db x shift_bands): give one for each, or null"
            )
        return self

    def views(self) -> list[ViewConfig]:
        """Returns the test-time views in the order of `view_weights`."""
        combinations = list(self._combinations())
        weights = self.view_weights or (1.0,) * len(combinations)
        return [ViewConfig(*settings, weight) for settings, weight in zip(combinations, weights, strict=True)]

    def _combinations(self) -> Iterator[tuple[float, float, int]]:
        return product(self.shift_seconds, self.gain_db, self.shift_bands)
