"""Escapes text of users, such as names of species, for Markdown."""

import re

_SPECIAL = re.compile(r"[\\|`*]")
_LINK = re.compile(r"\](?=[(\[:])")
"""The bracket after which a link or a picture has its address; other brackets are only brackets."""


def escape_markdown(text: object) -> str:
    """Returns text that Markdown shows as it is, on one line, also within the cell of a table.

    It makes no link, picture, code, emphasis or HTML, of which a browser could load or run something (CommonMark 0.31,
    sections 2.4, 6.3, 6.4 and 6.6).
    """
    plain = str(text).replace("&", "&amp;").replace("<", "&lt;")
    return _LINK.sub(r"\]", _SPECIAL.sub(r"\\\g<0>", " ".join(plain.splitlines())))


def code_span(text: object) -> str:
    """Returns text as code, between more backticks than stand together in it (CommonMark 0.31, section 6.1)."""
    plain = " ".join(str(text).splitlines())
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"
