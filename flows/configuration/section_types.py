"""Types of the sections of a configuration: what a field may hold."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, Tag


def unfold(annotation: Any, tag: str | None = None) -> Iterator[tuple[Any, str | None]]:
    """Yields the member types of a union or an annotated type, each with its tag."""
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        own = next((one.tag for one in metadata if isinstance(one, Tag)), tag)
        yield from unfold(base, own)
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from unfold(part, tag)
    else:
        yield annotation, tag


def is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Returns whether a type is a section."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
