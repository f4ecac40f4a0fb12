"""A page from its template: style, drawings and pictures stand in it, so that it opens offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def page(template: str, context: Mapping[str, Any]) -> str:
    """The HTML of one page; all text in it is escaped."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup((folder / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(context, css=css)
