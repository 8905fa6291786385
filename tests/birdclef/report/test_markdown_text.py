"""Hostile names, read by markdown-it, which follows CommonMark and knows tables."""

import pytest
from markdown_it import MarkdownIt

from birdclef.report.markdown_text import code_span, escape_markdown

HOSTILE = [
    "[x](javascript:alert(1))",
    "![x](http://example.org/p.png)",
    "![t](plots/none.png)",
    "<img src=x onerror=alert(1)>",
    "<http://example.org>",
    "a | b",
    "`code` and ``two``",
    "**bold** *it*",
    "back\\slash\\",
    "&lt;script&gt;",
    "two\nlines\rthree",
    "[a]: http://example.org",
    "[0.1, 0.9] of [b]",
    "ends with ]",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_users_is_shown_as_it_is_in_a_cell(text: str) -> None:
    tokens = (
        MarkdownIt("commonmark").enable("table").parse(f"| h | i |\n|---|---|\n| {escape_markdown(text)} | (end) |\n")
    )
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    assert {child.type for child in cells[2].children or []} <= {"text", "text_special"}
    assert "".join(child.content for child in cells[2].children or []) == " ".join(text.splitlines())


@pytest.mark.parametrize("text", HOSTILE)
def test_code_is_shown_as_it_is(text: str) -> None:
    (_, inline, _) = MarkdownIt("commonmark").parse(code_span(text))
    (code,) = inline.children or []
    assert (code.type, code.content) == ("code_inline", " ".join(text.splitlines()))
