"""Reads YAML that users write: configurations, overrides and descriptions of models."""

from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from cache.workspace.urls import read_file

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_MOST_VALUES = 100_000
"""Values that a text may stand for. Anchors that name anchors let 650 bytes stand for gigabytes."""


class _RefusedError(yaml.MarkedYAMLError):
    """What YAML allows, and a configuration does not; the problem is a whole sentence."""


class _Loader(yaml.SafeLoader):
    def get_single_node(self) -> yaml.Node | None:
        """Returns the document, whose anchors must stand for few values."""
        node = super().get_single_node()
        if node:
            _count_values(node, {})
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Returns a mapping; YAML itself would keep only the last of two values of one key."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _TEXT:
                shown = repr(key.value) if isinstance(key, yaml.ScalarNode) else "in brackets"
                raise _RefusedError(
                    problem=f"the key {shown} is not text. Write it in quotes, or choose another name.",
                    problem_mark=key.start_mark,
                )
            line = key.start_mark.line + 1
            if key.value in lines:
                raise _RefusedError(
                    problem=f"the key {key.value!r} is already in line {lines[key.value]}. Remove one of the two.",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = line
        return node


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """Returns how many values a node stands for, those that its aliases repeat counted each time.

    Args:
        node: Node of the document.
        counts: Counts of the nodes so far by identity; 0 while a node's own values are counted.

    Raises:
        _RefusedError: If these are too many, or if a node holds itself.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counts:
        counts[id(node)] = 0
        children = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        counts[id(node)] = 1 + sum(_count_values(child, counts) for child in children)
    values = counts[id(node)]
    if not values:
        raise _RefusedError(problem="an anchor holds itself. Write the values out.", problem_mark=node.start_mark)
    if values > _MOST_VALUES:
        raise _RefusedError(
            problem=f"this stands for more than {_MOST_VALUES:,} values, repeated anchors counted. Shorten it.",
            problem_mark=node.start_mark,
        )
    return values


def read_yaml(path: Path) -> Any:
    """Returns the content of a YAML file.

    Raises:
        OSError: As in `read_file`.
        ValueError: If the file is not UTF-8 or not valid YAML; the message names the file and, if known, the line.
    """
    try:
        text = read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text: byte {error.start + 1} is {error.object[error.start]:#04x}. Save it as UTF-8."
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, place: str) -> Any:
    """Returns the value of a YAML text.

    Args:
        text: One YAML document. Its keys must be text, and differ within a mapping.
        place: Where the text is from, for messages.

    Raises:
        ValueError: If the text is not valid YAML, or if a key is wrong.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else "unknown line"
        if isinstance(error, _RefusedError):
            raise ValueError(f"{place}, {line}: {error.problem}") from error
        told = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{place} is not valid YAML ({line}): {told}.") from error
    except RecursionError as error:
        raise ValueError(f"{place} holds brackets in brackets, too many to read. Remove some.") from error
    except (yaml.YAMLError, ValueError) as error:  # such as a date with 13 months
        raise ValueError(f"{place} is not valid YAML: {' '.join(str(error).split())}.") from error
