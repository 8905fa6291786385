"""Suggests the known word that is most similar to a mistyped word."""

from collections.abc import Iterable
from difflib import get_close_matches


def suggest(word: str, known: Iterable[str]) -> str:
    """Returns `; did you mean WORD?`, or an empty text if no known word is similar."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
