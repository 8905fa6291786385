"""The base class of all sections of an experiment's configuration."""

from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

Probability = Annotated[float, Field(ge=0, le=1)]


class ConfigSection(BaseModel):
    """A frozen section of an experiment that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, defer_build=True)

    execution_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how a result is computed, but not the result; artefact keys leave them out."""

    def identity(self) -> dict[str, Any]:
        """Returns the fields that define the result, as plain JSON values."""
        return self.model_dump(mode="json", exclude=set(self.execution_fields))
