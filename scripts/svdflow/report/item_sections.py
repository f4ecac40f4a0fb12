"""What a section of the report shows of one item."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from svdflow.report.reconstructions import Picture
from svdflow.report.select import Shown


@dataclass(frozen=True)
class Drawing:
    """A figure with its caption."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Card:
    """An item shown in full in one section: a drawing, pictures, or both."""

    shown: Shown
    drawing: Drawing | None = None
    pictures: Sequence[Picture] = ()
