"""Overrides: `section.key=value` settings that replace values of a YAML file."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from cache.models.yaml_text import parse_yaml, read_yaml
from flows.configuration.section_types import is_text, takes_null
from flows.configuration.suggestion import suggest

Keys = tuple[str, ...]
"""Path of a value in a tree of sections."""

_MEMBERS = "train"
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_NULLS = ("", "null", "Null", "NULL")
"""Values that are no text where a setting may have none; `~` is a home folder."""


def read_tree(path: Path) -> dict[str, Any]:
    """Returns the sections of a YAML file; sections that a YAML anchor shares become separate objects.

    Raises:
        ValueError: If the file is not UTF-8 or not valid YAML, or holds no sections.
    """
    tree = _unshare(read_yaml(path))
    if not isinstance(tree, dict):
        raise ValueError(f"{path} must hold sections such as `data:` and `train:`, not {type(tree).__name__}.")
    return tree


def apply_overrides(tree: dict[str, Any], overrides: Iterable[str], root: type[BaseModel]) -> list[Keys]:
    """Returns the paths of the values that overrides set in a tree.

    Args:
        tree: Sections of a YAML file; this call changes it.
        overrides: `section.key=value` as `parse_override` reads it; `*` stands for every key of a section.
        root: Model of the whole configuration.

    Raises:
        ValueError: If an override has another form, or a step of its path is not a section.
    """
    return [keys for override in overrides for keys in _apply(tree, override, root)]


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Returns settings, whose names are `section.key`, as overrides."""
    return [f"{key}={_dump(value)}" for key, value in settings.items()]


def _dump(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.strip().removesuffix("...").strip()


def _unshare(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _unshare(value) for key, value in node.items()}
    return node


def parse_override(override: str, root: type[BaseModel]) -> tuple[str, Any]:
    """Returns the dotted path and the value of an override.

    The value of a setting that is text is taken as it is written, because YAML reads `1e3` as a number, `no` as false
    and `#` as the begin of a comment. Only quotes around it are taken off, and `null` is no value where a setting may
    have none. All other values are YAML without comments.

    Args:
        override: `section.key=value`.
        root: Model of the whole configuration.

    Raises:
        ValueError: If the override has another form, or its value is not valid YAML or has a comment.
    """
    dotted, text = _divide(override)
    steps = dotted.split(".")
    if not is_text(root, steps):
        return dotted, _parse(text, override)
    if takes_null(root, steps) and text in _NULLS:
        return dotted, None
    if _QUOTED.fullmatch(text):
        return dotted, _parse(text, override)
    return dotted, text


def parse_alternatives(override: str, root: type[BaseModel]) -> tuple[str, Any, bool]:
    """Returns path and value of an override, and whether the value is a list of alternatives for a setting of text."""
    dotted, text = _divide(override)
    if is_text(root, dotted.split(".")) and text.startswith("["):
        return dotted, _parse(text, override), True
    return *parse_override(override, root), False


def _divide(override: str) -> tuple[str, str]:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ValueError(f"Override {override!r} must have the form section.key=value.")
    return dotted, text.strip()


def _parse(text: str, override: str) -> Any:
    """Returns a value in YAML, which must not have a comment: its writer meant the text behind # too."""
    value = parse_yaml(text, f"Override {override!r}: {text!r}")
    spans = [(token.start_mark.index, token.end_mark.index) for token in yaml.scan(text)]
    marks = [place for place, letter in enumerate(text) if letter == "#"]
    if any(not any(start <= place < end for start, end in spans) for place in marks):
        raise ValueError(f"Override {override!r}: YAML skips what follows #. Put text with # in quotes, or remove it.")
    return value


def _apply(tree: dict[str, Any], override: str, root: type[BaseModel]) -> list[Keys]:
    dotted, value = parse_override(override, root)
    *parents, leaf = dotted.split(".")
    nodes: dict[Keys, Any] = {(): tree}
    for step in parents:
        nodes = {
            (*keys, name): child
            for keys, node in nodes.items()
            for name, child in _children(node, keys, step, override).items()
        }
    for node in nodes.values():
        node[leaf] = value
    return [(*keys, leaf) for keys in nodes]


def _children(node: dict[str, Any], keys: Keys, step: str, override: str) -> dict[str, Any]:
    """Returns the sections that a step leads to, by name; adds an empty section if the file has none."""
    if keys == (_MEMBERS,) and step != "*" and step not in node:
        raise ValueError(
            f"Override {override!r}: {_MEMBERS} has no member {step!r}{suggest(step, node) or '.'} Members: "
            f"{', '.join(node)}. To add one, write it into the file, or give all of it: '{_MEMBERS}.{step}={{...}}'."
        )
    children = dict(node) if step == "*" else {step: node.setdefault(step, {})}
    if not children or not all(isinstance(child, dict) for child in children.values()):
        raise ValueError(f"Override {override!r}: {step!r} is not a section with keys.")
    return children
