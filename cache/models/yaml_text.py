"""Reads YAML that users write: configurations, overrides and descriptions of models."""

from pathlib import Path
from typing import Any

import yaml

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


class _WrongKeyError(yaml.MarkedYAMLError):
    """A key that is not text, or that a mapping holds twice."""


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Returns a mapping; YAML itself would keep only the last of two values of one key."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _TEXT:
                shown = repr(key.value) if isinstance(key, yaml.ScalarNode) else "in brackets"
                raise _WrongKeyError(
                    problem=f"the key {shown} is not text. Write it in quotes, or choose another name.",
                    problem_mark=key.start_mark,
                )
            line = key.start_mark.line + 1
            if key.value in lines:
                raise _WrongKeyError(
                    problem=f"the key {key.value!r} is already in line {lines[key.value]}. Remove one of the two.",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = line
        return node


def read_yaml(path: Path) -> Any:
    """Returns the content of a YAML file.

    Raises:
        ValueError: If the file is not UTF-8 or not valid YAML; the message names the file and, if known, the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
        if isinstance(error, _WrongKeyError):
            raise ValueError(f"{place}, {line}: {error.problem}") from error
        told = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{place} is not valid YAML ({line}): {told}.") from error
    except (yaml.YAMLError, ValueError) as error:  # such as a date with 13 months
        raise ValueError(f"{place} is not valid YAML: {' '.join(str(error).split())}.") from error
