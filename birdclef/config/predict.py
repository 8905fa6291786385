"""Configuration of prediction: windows and test-time views."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    Field,
    model_validator,
)

from cache.config.section import Amount, ConfigSection, Decibels, Seconds

MOST_VIEWS = 256
"""Largest number of test-time views; each costs one more pass of the model."""

_Shift = Annotated[float, Field(ge=-3600, le=3600)]
_Bands = Annotated[int, Field(ge=-1024, le=1024)]
DetectionFormat = Literal["submission", "long", "raven", "audacity"]


class ViewConfig(NamedTuple):
    """One combination of the settings of test-time views, with its weight."""

    shift_seconds: float
    gain_db: float
    shift_bands: int
    weight: float


class PredictConfig(ConfigSection):
    """Settings of the windows and the test-time views."""

    stride_seconds: Seconds = 2.5
    """Seconds from the start of one window to the start of the next, in the recordings of the data set. In new
    recordings each window begins where the one before ends."""
    shift_seconds: Annotated[tuple[_Shift, ...], Field(min_length=1, max_length=MOST_VIEWS)] = (0.0,)
    """Shifts of all windows in time, s. Each shift is a view."""
    gain_db: Annotated[tuple[Decibels, ...], Field(min_length=1, max_length=MOST_VIEWS)] = (0.0,)
    """Gains, dB. Each gain is a view, for each shift in time. With `model.normalisation=band_median` only 0 is allowed,
    because it removes every gain."""
    shift_bands: Annotated[tuple[_Bands, ...], Field(min_length=1, max_length=MOST_VIEWS)] = (0,)
    """Shifts of the spectrum by whole mel bands, up (positive) or down. Each shift is a view, for each gain."""
    view_weights: tuple[Amount, ...] | None = None
    """Weight of each view, in the order of the report's table of views; null: all views have the same weight."""
    aggregation: Literal["mean", "max", "top3"] = "mean"
    """Method that combines the logits of the windows into the score of a recording of the data set: their mean, their
    maximum, or the mean of the three highest."""
    batch_windows: int = Field(default=64, gt=0, le=10_000)
    """Number of windows per forward pass, also where the report predicts again. Lower it if memory runs out."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"batch_windows"})

    @model_validator(mode="after")
    def _weigh_each_view(self) -> Self:
        views = math.prod(map(len, (self.shift_seconds, self.gain_db, self.shift_bands)))
        if views > MOST_VIEWS:
            raise ValueError(
                f"shift_seconds x gain_db x shift_bands are {views} views, and at most {MOST_VIEWS} are possible: "
                "shorten one of these lists"
            )
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
