"""Explains settings: key, default and meaning of each."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.configuration.section_types import is_section, unfold
from flows.configuration.suggestion import suggest

_WIDTH = 100
_ANY = "*"
"""Step of a key that stands for any member."""


@dataclass(frozen=True)
class Setting:
    """One setting of a configuration.

    Attributes:
        keys: Steps from the root to the setting.
        kind: Kind of section that has the setting; None: every kind.
        default: The default as YAML; None: the setting has none.
        meaning: What the setting means.
    """

    keys: tuple[str, ...]
    kind: str | None
    default: str | None
    meaning: str


def explain_settings(root: type[BaseModel], key: str | None) -> str:
    """Returns key, default and meaning of each setting.

    Args:
        root: Model of the whole configuration.
        key: Key of a setting or section, or its last steps; None: all settings.

    Raises:
        ValueError: If there is no such key.
    """
    settings = _merge_kinds(_walk(root, (), None))
    if key is None:
        return "\n".join(map(_describe, _without_repetitions(settings)))
    wanted = key.split(".")
    chosen = [one for one in settings if _is_below(one.keys, wanted)]
    if not chosen:
        known = sorted({step for one in settings for step in one.keys})
        unknown = next((step for step in reversed(wanted) if step not in known), wanted[-1])
        raise ValueError(f"There is no setting {key}{suggest(unknown, known) or '.'}")
    return "\n".join(map(_describe, chosen))


def find_settings(root: type[BaseModel], steps: Sequence[str]) -> list[str]:
    """Returns the keys of the settings whose last steps are these, each as it is written in an override."""
    found = (one.keys for one in _walk(root, (), None) if list(one.keys[-len(steps) :]) == list(steps))
    return list(dict.fromkeys(".".join(keys) for keys in found))


def _merge_kinds(settings: Iterable[Setting]) -> list[Setting]:
    """Returns settings that are the same in several kinds of a section once, for every kind."""
    merged: dict[Setting, Setting] = {}
    for setting in settings:
        shared = replace(setting, kind=None)
        merged[shared] = shared if shared in merged else setting
    return list(merged.values())


def _without_repetitions(settings: Sequence[Setting]) -> Iterator[Setting]:
    """Yields settings without those that another section has too, as `member_features` has those of `features`."""
    seen: set[Setting] = set()
    for setting in settings:
        elsewhere = replace(setting, keys=setting.keys[-1:])
        if elsewhere not in seen:
            yield setting
        seen.add(elsewhere)


def _walk(section: type[BaseModel], keys: tuple[str, ...], kind: str | None) -> Iterator[Setting]:
    """Yields the settings of a section and of all sections in it."""
    for name, field in section.model_fields.items():
        own = (*keys, name)
        inner = list(_sections(field.annotation))
        if not inner or field.description:
            yield Setting(own, kind, _default(field, bool(inner)), field.description or "")
        for part, tag, through in inner:
            yield from _walk(part, (*own, *through), tag or kind)


def _sections(annotation: Any) -> Iterator[tuple[type[BaseModel], str | None, tuple[str, ...]]]:
    """Yields the sections that a field may hold, each with its kind and the steps that lead to it."""
    for part, tag in unfold(annotation):
        if is_section(part):
            yield part, tag, ()
        elif get_origin(part) is dict:
            yield from ((inner, kind, (_ANY, *steps)) for inner, kind, steps in _sections(get_args(part)[1]))


def _default(field: FieldInfo, holds_section: bool) -> str | None:
    if field.is_required() or holds_section:
        return None
    value = field.get_default(call_default_factory=True)
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.strip().removesuffix("...").strip()


def _is_below(keys: tuple[str, ...], wanted: list[str]) -> bool:
    """Returns whether some steps of a setting's key are the wanted ones; the name of a member may be any."""
    if len(wanted) == 1:
        return wanted[0] in keys
    starts = range(len(keys) - len(wanted) + 1)
    return any(
        all(_ANY in pair or pair[0] == pair[1] for pair in zip(keys[start:], wanted, strict=False)) for start in starts
    )


def _describe(setting: Setting) -> str:
    default = "" if setting.default is None else f": {setting.default}"
    kind = f"  (only with kind {setting.kind})" if setting.kind else ""
    meaning = textwrap.fill(" ".join(setting.meaning.split()), _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"{'.'.join(setting.keys)}{default}{kind}\n{meaning}".rstrip() + "\n"
