"""The base class of all sections of an experiment's configuration."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

Probability = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Seed of random draws; NumPy and scikit-learn take no other values."""

_MOST = 1_000_000
Count = Annotated[int, Field(gt=0, le=_MOST)]
"""Number of things, such as epochs; a larger one could only run for ever or fill the memory."""
CountFromZero = Annotated[int, Field(ge=0, le=_MOST)]
"""As `Count`, or none of the things."""
Amount = Annotated[float, Field(gt=0, le=_MOST)]
"""Positive number, such as a rate or a weight; sums and products of a few are finite in float32."""
AmountFromZero = Annotated[float, Field(ge=0, le=_MOST)]
"""As `Amount`, or zero."""
Width = Annotated[int, Field(gt=0, le=16_384)]
"""Number of values of a layer or an embedding; two layers of this width have 1 GB of weights between them."""
SampleRate = Annotated[int, Field(ge=1000, le=1_000_000)]
"""Sample rate in Hz; recorders of bats have up to 500 kHz."""
Frequency = Annotated[float, Field(gt=0, le=500_000)]
"""Frequency in Hz, up to half of the highest sample rate."""
Seconds = Annotated[float, Field(ge=0.01, le=3600)]
"""Length of a window, or time from one window to the next; shorter ones make more windows than anyone waits for."""
Decibels = Annotated[float, Field(ge=-200, le=200)]
"""Ratio or change of level; powers with such ratios are finite in float32."""
MostDecibels = Annotated[float, Field(ge=0, le=200)]
"""Largest change of level."""

Limits = TypeVar("Limits", bound=tuple[float, float])


def _check_order(limits: Limits) -> Limits:
    """Returns the lowest and the highest value of a range, which must be in this order."""
    low, high = limits
    if low > high:
        raise ValueError(f"the first value must not be above the second: set [{high:g}, {low:g}]")
    return limits


Ascending = Annotated[Limits, AfterValidator(_check_order)]
"""Lowest and highest value of a range."""


def refuse_in_one_sentence(expected: str) -> WrapValidator:
    """Returns a validator of a value of several types, of which otherwise each has an error of its own.

    Args:
        expected: What the value must be, as it follows "Input should be".
    """

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("expected", f"Input should be {expected}") from None

    return WrapValidator(check)


def _takes_true_as_one(given: Any, taken: Any) -> bool:
    """Returns whether a boolean, at any depth of lists and mappings, became a value of another type."""
    if isinstance(given, bool):
        return not isinstance(taken, bool)
    if isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        return any(map(_takes_true_as_one, given, taken))
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        return any(_takes_true_as_one(value, taken[key]) for key, value in given.items() if key in taken)
    return False


class ConfigSection(BaseModel):
    """A frozen section of an experiment that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )

    execution_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how a result is computed, but not the result; artefact keys leave them out."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _refuse_true_as_one(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """Returns the field's value; YAML's `true` and `yes` are no number, although pydantic takes them for 1.

        This holds for the field itself and for values in its lists and mappings; a section in it checks its own fields.
        """
        taken = handler(value)
        if _takes_true_as_one(value, taken):
            raise PydanticCustomError("expected", "Input should be a number, not true or false")
        return taken

    def identity(self) -> dict[str, Any]:
        """Returns the fields that define the result, as plain JSON values."""
        return self.model_dump(mode="json", exclude=set(self.execution_fields))
