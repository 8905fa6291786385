"""Fills the templates of reports and model cards."""

import base64
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from birdclef.report.markdown_text import code_span, escape_markdown


def render(template: str, content: dict[str, Any]) -> str:
    """Returns a filled template; in HTML all values are escaped.

    Args:
        template: File name of the template.
        content: Values by the names that the template uses.
    """
    environment = Environment(
        loader=PackageLoader("birdclef.report", "templates"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "png": partial(_data_uri, "image/png"),
        "mp3": partial(_data_uri, "audio/mpeg"),
        "number": _format_number,
        "signed": _format_difference,
        "cell": escape_markdown,
        "code": code_span,
    }
    environment.filters |= filters
    return environment.get_template(template).render(content)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _format_number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _format_difference(value: Mapping[str, float | None] | None) -> str:
    """Returns a difference with its interval, or a dash if it is undefined or there is none."""
    if value is None or value["value"] is None:
        return "–"
    return f"{value['value']:+.3f} [{value['low']:+.3f}, {value['high']:+.3f}]"
