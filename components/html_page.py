"""What our pages have in common: how they are filled in, their style, how numbers are written.

`page_style.html` beside this module is the style; a template takes it in with
`{% include "page_style.html" %}`.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import jinja2
import markupsafe


def render(template: Path, **values: Any) -> str:
    """Fills a template in; text in the values is escaped.

    Args:
      template: an HTML file; its filters figure, breakable, count, difference, number and picture
        are the functions below.
      **values: what the template names.

    Returns:
      The page; it needs no other file and no network.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.filters["breakable"] = breakable
    environment.filters["count"] = count
    environment.filters["difference"] = difference
    environment.filters["number"] = number
    environment.filters["picture"] = data_uri
    return environment.get_template(template.name).render(**values)


def figure(value: float) -> str:
    """A measured share; "-" for what could not be measured."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def breakable(text: str) -> markupsafe.Markup:
    """The text, escaped, with leave to go on in a new line after each _ and /."""
    escaped = str(markupsafe.escape(text))
    return markupsafe.Markup(escaped.replace("_", "_<wbr>").replace("/", "/<wbr>"))


def count(value: float) -> str:
    """A number of things; "-" for what could not be counted."""
    return "-" if math.isnan(value) else f"{value:,.0f}"


def difference(value: float) -> str:
    """A difference with its sign; "-" for what could not be measured."""
    return "-" if math.isnan(value) else f"{value:+.4f}"


def number(value: float) -> str:
    """A measured number in four digits; "-" for what could not be measured."""
    return "-" if math.isnan(value) else f"{value:.4g}"


def data_uri(png: bytes) -> str:
    """A picture as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
