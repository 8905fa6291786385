"""Shows every effective value of an experiment and its origin: a default, the file or an override."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from flows.configuration.overrides import Keys

_LONGEST_ALIGNED = 60
"""Longest line whose comment is aligned, in characters."""


def show_origins(
    effective: Mapping[str, Any], given: Mapping[str, Any], overridden: Collection[Keys], file: str
) -> str:
    """Returns the experiment as YAML, with the origin of each value in a comment.

    Args:
        effective: All values of the experiment, as plain Python values.
        given: Values that the file and the overrides set.
        overridden: Paths of the values that overrides set.
        file: Name of the file.
    """
    lines = list(_lines(effective, (), given, overridden, file))
    width = max((len(text) for text, origin in lines if origin and len(text) <= _LONGEST_ALIGNED), default=0)
    return "".join(f"{text:<{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in lines)


def _lines(
    node: Mapping[str, Any], keys: Keys, given: Mapping[str, Any], overridden: Collection[Keys], file: str
) -> Iterator[tuple[str, str]]:
    """Yields each line and the origin of its value; a line that opens a section has no origin."""
    for name, value in node.items():
        path, indent = (*keys, name), "  " * len(keys)
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_scalar(name)}:", ""
            yield from _lines(value, path, given, overridden, file)
        else:
            yield f"{indent}{_scalar(name)}: {_scalar(value)}", _origin(path, given, overridden, file)


def _origin(keys: Keys, given: Mapping[str, Any], overridden: Collection[Keys], file: str) -> str:
    node: Any = given
    for step in keys:
        if not isinstance(node, Mapping):  # the section is read from the file of this name
            return Path(str(node)).name
        if step not in node:
            return "default"
        node = node[step]
    return "override" if any(keys[: len(one)] == one for one in overridden) else file


def _scalar(value: Any) -> str:
    """Returns a value as YAML on one line."""
    if isinstance(value, str) and "\n" in value:
        return json.dumps(value)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.strip().removesuffix("...").strip()
