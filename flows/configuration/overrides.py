"""Overrides: `section.key=value` settings that replace values of a YAML file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cache.models.yaml_text import parse_yaml, read_yaml
from flows.configuration.suggestion import suggest

Keys = tuple[str, ...]
"""Path of a value in a tree of sections."""

_MEMBERS = "train"


def read_tree(path: Path) -> dict[str, Any]:
    """Returns the sections of a YAML file; sections that a YAML anchor shares become separate objects.

    Raises:
        ValueError: If the file is not UTF-8 or not valid YAML, or holds no sections.
    """
    tree = _unshare(read_yaml(path))
    if not isinstance(tree, dict):
        raise ValueError(f"{path} must hold sections such as `data:` and `train:`, not {type(tree).__name__}.")
    return tree


def apply_overrides(tree: dict[str, Any], overrides: Iterable[str]) -> list[Keys]:
    """Returns the paths of the values that overrides set in a tree.

    Args:
        tree: Sections of a YAML file; this call changes it.
        overrides: `section.key=value` with the value in YAML; `*` stands for every key of a section.

    Raises:
        ValueError: If an override has another form, or a step of its path is not a section.
    """
    return [keys for override in overrides for keys in _apply(tree, override)]


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Returns settings, whose names are `section.key`, as overrides."""
    return [
        f"{key}={yaml.safe_dump(value, default_flow_style=True).strip().removesuffix('...').strip()}"
        for key, value in settings.items()
    ]


def _unshare(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _unshare(value) for key, value in node.items()}
    return node


def parse_override(override: str) -> tuple[str, Any]:
    """Returns the dotted path and the value of an override.

    Raises:
        ValueError: If the override has another form than `section.key=value`, or its value is not valid YAML.
    """
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ValueError(f"Override {override!r} must have the form section.key=value.")
    return dotted, parse_yaml(text, f"Override {override!r}: {text!r}")


def _apply(tree: dict[str, Any], override: str) -> list[Keys]:
    dotted, value = parse_override(override)
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
