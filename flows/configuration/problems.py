"""Describes the errors of a configuration: the path of each wrong key, and a known key that is similar."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from flows.configuration.explanation import find_settings
from flows.configuration.section_types import Steps, descend, is_section, types_at, unfold
from flows.configuration.suggestion import suggest

_SUGGESTIONS = 3
"""Largest number of keys that are suggested for one that stands in the wrong section."""
_NAME = "[key]"
"""Last step of pydantic's path if the key itself is wrong and not its value."""


def describe_problems(error: ValidationError, root: type[BaseModel], config: Path) -> str:
    """Returns the message on a wrong configuration: one sentence, or one line for each of several problems.

    Args:
        error: Error that pydantic raised.
        root: Model of the whole configuration; suggestions are keys of this model.
        config: Name of a preset, or path of a YAML file.
    """
    problems = [_describe(problem["loc"], problem, root) for problem in error.errors() if not _repeats(problem)]
    if len(problems) == 1:
        return f"{config}: {problems[0]}"
    return "\n".join([f"{config} does not describe a valid experiment:", *(f"  {problem}" for problem in problems)])


def known_keys(root: type[BaseModel], steps: Steps) -> list[str]:
    """Returns the keys of the section that steps lead to from the root; empty if they lead to no section."""
    sections = [part for annotation in types_at(root, steps) for part, _ in unfold(annotation) if is_section(part)]
    return list(dict.fromkeys(name for section in sections for name in section.model_fields))


def _describe(steps: Steps, problem: Mapping[str, Any], root: type[BaseModel]) -> str:
    """Returns the key's path and what is wrong; leaves out the value of a section, because it is long."""
    told = str(problem["msg"]).removeprefix("Value error, ")
    if steps and steps[-1] == _NAME:
        return f"{'.'.join(_keys(steps[:-2], root))}: {told}"
    key = ".".join(_keys(steps, root))
    given = "" if isinstance(problem["input"], Mapping) else f" (got {problem['input']!r})"
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: {_describe_unknown(steps, problem, root)}"
        case "union_tag_invalid":
            return f"{key}.kind: Input should be {problem['ctx']['expected_tags']} (got {problem['ctx']['tag']!r})"
        case "model_type" | "model_attributes_type" | "dict_type":
            known = known_keys(root, steps)
            return f"{key}: must be a section with keys{f' such as {known[0]}' if known else ''}{given}"
        case "string_type" if isinstance(problem["input"], int | float | date):
            return f'{key}: must be text{given}: write it in quotes, as "{problem["input"]}"'
    return f"{key}: {told}{given}" if key else f"{told}{given}"


def _describe_unknown(steps: Steps, problem: Mapping[str, Any], root: type[BaseModel]) -> str:
    if needed := _needed_kind(steps, root):
        return needed
    near = _suggest_elsewhere(steps, problem, root) or suggest(str(steps[-1]), known_keys(root, steps[:-1]))
    return f"there is no such key{near or '.'}"


def _needed_kind(steps: Steps, root: type[BaseModel]) -> str:
    """Returns which kind of the section has a key that this kind lacks; an empty text if no kind has it.

    The kinds are those of features. Settings of augmentation have no key `kind`: a member's backbone tells it.
    """
    if len(steps) < 2:
        return ""
    *above, given, name = steps
    kinds = {
        tag: part for one in types_at(root, above) for part, tag in unfold(one) if tag is not None and is_section(part)
    }
    needed = " or ".join(tag for tag, section in kinds.items() if name in section.model_fields)
    if given not in kinds or not needed:
        return ""
    section = ".".join(_keys(above, root))
    if "kind" in kinds[str(given)].model_fields:
        return f"there is no such key with {section}.kind={given}; it needs {section}.kind={needed}"
    backbone = ".".join(_keys((*above[:-1], "model", "backbone"), root))
    return f"this key is for features.kind={needed}, but {backbone} reads features.kind={given}: change one of them"


def _suggest_elsewhere(steps: Steps, problem: Mapping[str, Any], root: type[BaseModel]) -> str:
    """Returns `; did you mean KEY?` if other sections have the key: `train.*.model.weights` for `model.weights`."""
    written, given = [str(steps[-1])], problem["input"]
    while isinstance(given, Mapping) and len(given) == 1:
        (name,) = given
        written, given = [*written, str(name)], given[name]
    found = find_settings(root, written)[:_SUGGESTIONS]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _repeats(problem: Mapping[str, Any]) -> bool:
    """Whether a list is told to be short only because pydantic left out its wrong values, each with a problem."""
    return bool(problem["type"] == "too_short" and len(problem["input"]) > problem["ctx"]["actual_length"])


def _keys(steps: Steps, root: type[BaseModel]) -> Iterator[str]:
    """Yields the keys of a path as the user writes them: without the kinds that pydantic puts behind a section."""
    annotations: list[Any] = [root]
    for step in steps:
        tags = {tag for annotation in annotations for _, tag in unfold(annotation)}
        if step not in tags:
            yield str(step)
        annotations = [inner for annotation in annotations for inner in descend(annotation, step)]
