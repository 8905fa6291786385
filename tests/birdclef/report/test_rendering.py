"""Templates and their filters by hand."""

import pytest
from jinja2 import UndefinedError

from birdclef.report.rendering import render


def test_missing_content_fails_instead_of_showing_nothing() -> None:
    with pytest.raises(UndefinedError, match="has no attribute"):
        render("report.md.j2", {"report": {}})
