"""HTML pages from Jinja templates: rendering, and how numbers are written.

Templates are in this package and extend base.html (blocks `meta`, `title`, `head`, `content`,
`scripts`); macros.html has legends, tables and clouds that can be turned. A page needs no other
file and no network.
"""

from __future__ import annotations

import base64
import functools
import math
from pathlib import Path
from typing import Any

import jinja2
import markupsafe


def render(template: str, **values: Any) -> str:
    """Renders a template, such as "data_page.html" or "inspection/page.html"; values are escaped.

    Filters: figure, difference, number, count and percent for numbers, "-" where they are NaN;
    breakable for long names and paths; picture for a PNG's bytes.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["nan"] = math.nan
    environment.filters["breakable"] = breakable
    environment.filters["picture"] = data_uri
    formats = {"figure": ".4f", "difference": "+.4f", "number": ".4g", "count": ",.0f"}
    for name, form in {**formats, "percent": ".1%"}.items():
        environment.filters[name] = functools.partial(formatted, form=form)
    return environment


def formatted(value: float, form: str = ".4f") -> str:
    """The number in a format of Python's; "-" for NaN, a value that was not measured."""
    return "-" if math.isnan(value) else format(value, form)


def breakable(text: str) -> markupsafe.Markup:
    """The text, escaped, with optional line breaks after each _ and /."""
    escaped = str(markupsafe.escape(text))
    return markupsafe.Markup(escaped.replace("_", "_<wbr>").replace("/", "/<wbr>"))


def data_uri(png: bytes) -> str:
    """A picture as an address that contains the picture."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
