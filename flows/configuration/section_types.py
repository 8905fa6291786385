"""Types of the sections of a configuration: what a field may hold."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, Tag

Steps = Sequence[str | int]
"""Path of a value: names of sections and keys, and places in lists."""


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


def is_text(root: type[BaseModel], steps: Steps) -> bool:
    """Returns whether a setting takes nothing but text, or null."""
    parts = {part for annotation in types_at(root, steps) for part, _ in unfold(annotation)} - {type(None)}
    return bool(parts) and all(part is str or _is_word(part) for part in parts)


def takes_null(root: type[BaseModel], steps: Steps) -> bool:
    """Returns whether a setting may be null."""
    return any(part is type(None) for annotation in types_at(root, steps) for part, _ in unfold(annotation))


def _is_word(part: Any) -> bool:
    return get_origin(part) is Literal and all(isinstance(word, str) for word in get_args(part))


def types_at(root: type[BaseModel], steps: Steps) -> list[Any]:
    """Returns the types that steps lead to from the root."""
    annotations: list[Any] = [root]
    for step in steps:
        annotations = [inner for annotation in annotations for inner in descend(annotation, step)]
    return annotations


def descend(annotation: Any, step: str | int) -> Iterator[Any]:
    """Yields the types that one step of a path leads to: a kind of section, the values of a mapping, or a field."""
    parts = list(unfold(annotation))
    if any(tag == step for _, tag in parts):
        yield from (part for part, tag in parts if tag == step)
        return
    for part, _ in parts:
        if get_origin(part) is dict:
            yield get_args(part)[1]
        elif is_section(part) and step in part.model_fields:
            yield part.model_fields[str(step)].annotation
