"""A page from its template: style, drawings and pictures stand in it, so that it opens offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from svdflow.escaping import visible


def page(template: str, context: Mapping[str, Any]) -> str:
    """The HTML of one page; all text in it is escaped, control characters too."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup((folder / "document.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(context, css=css)


def _shown(value: Any) -> Any:
    """What stands for an expression of a template, before Jinja escapes it."""
    return visible(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value
