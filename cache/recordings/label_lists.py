"""Reads a list of labels as tables write it: Python's, NumPy's, or labels with separators between them."""

import re
from collections.abc import Iterable, Mapping, Sequence

_TOKEN = re.compile(r"""(?P<quoted>'[^'\\]*'|"[^"\\]*")|(?P<bare>[^\s,;|/'"\[\](){}\\][^\s,;|/"\[\](){}\\]*)""")
_SEPARATOR = re.compile(r"\s*[,;|/]\s*|\s+")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_NOTHING = ("", "-", "nan", "none", "null", "<na>")
"""Texts of a missing value, in lower case, as pandas, NumPy and people write them."""
_WHOLE_NUMBER = re.compile(r"(\d+)\.0")
_SPECIES_NAME = re.compile(r"(?P<scientific>[^\W\d_]\S* [^_]+)_(?P<common>\S.*)")
"""Form of BirdCLEF 2020: `Turdus migratorius_American Robin`."""


def parse_labels(text: str, label_of: Mapping[str, str]) -> list[str]:
    """Returns the labels of a list, without missing values.

    The list may be Python's (`['a', 'b']`, also as a tuple, with bare words or numbers), NumPy's (`['a' 'b']`), or
    labels with commas, semicolons, slashes or vertical bars between them (`a;b`). A number such as 22930.0 is the label
    22930. A scientific name, or `scientific name_common name` as in BirdCLEF 2020, becomes the label of the species; a
    species that the table does not have keeps its name, with underscores for spaces.

    Args:
        text: One field of a table.
        label_of: Label of each scientific name, in lower case; empty if the table names no species.

    Raises:
        ValueError: If the text is no such list.
    """
    inner = text.strip()
    if closing := _BRACKETS.get(inner[:1]):
        if inner[-1] != closing:
            raise ValueError(f"{text!r} does not end with {closing}")
        inner = inner[1:-1].strip()
    labels: list[str] = []
    place, separator = 0, ","
    before: re.Match[str] | None = None
    while place < len(inner):
        token = _TOKEN.match(inner, place)
        if not token or not separator or (not separator.strip() and before and not _divided(before, token)):
            raise ValueError(f"{text!r} is not a list of labels")
        labels.append(_as_label(token, label_of))
        gap = _SEPARATOR.match(inner, token.end())
        separator, before = gap[0] if gap else "", token
        place = gap.end() if gap else token.end()
    return [label for label in labels if label.lower() not in _NOTHING]


def describe_lists(texts: Iterable[str], lists: Iterable[Sequence[str] | None]) -> list[str]:
    """Returns a text with the number of fields that are no list such as `['a', 'b']`; nothing if all are such lists.

    Args:
        texts: Fields of the table.
        lists: Labels of each field.
    """
    others = [
        (text, labels) for text, labels in zip(texts, lists, strict=True) if labels and not _is_plain(text, labels)
    ]
    if not others:
        return []
    text, labels = others[0]
    return [f'{len(others)} list(s) of secondary_labels in another form, such as "{text}" for {", ".join(labels)}']


def _is_plain(text: str, labels: Sequence[str]) -> bool:
    return re.sub(r"[\s'\"]", "", text) == f"[{','.join(labels)}]".replace("'", "")


def _divided(before: re.Match[str], token: re.Match[str]) -> bool:
    """Whether white space alone divides two labels: in NumPy's lists, but not within a name without quotes."""
    if before["quoted"] and token["quoted"]:
        return True
    return before[0].isdecimal() and token[0].isdecimal()


def _as_label(token: re.Match[str], label_of: Mapping[str, str]) -> str:
    if token["bare"]:
        if not token["bare"].strip("."):
            raise ValueError("NumPy has left out labels")
        number = _WHOLE_NUMBER.fullmatch(token["bare"])
        return number[1] if number else token["bare"]
    label = token["quoted"][1:-1].strip()
    if not re.search(r"\s", label):
        return label
    name = _SPECIES_NAME.fullmatch(label)
    if known := label_of.get((name["scientific"] if name else label).lower()):
        return known
    if name and label_of:
        return "_".join(label.split())
    raise ValueError(f"{label!r} holds white space")
