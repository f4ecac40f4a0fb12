"""What a section of the report is made of: sentences, tables, drawings, and items shown in full."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from markupsafe import Markup

from svdflow.report.material import Library, Material
from svdflow.report.reconstructions import Picture
from svdflow.report.select import Shown
from svdflow.report.table_rows import Tables


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


@dataclass(frozen=True)
class Words:
    """A list of sentences."""

    form: ClassVar[str] = "words"
    sentences: Sequence[str]


@dataclass(frozen=True)
class Drawings:
    """Figures beside each other."""

    form: ClassVar[str] = "drawings"
    drawings: Sequence[Drawing]


@dataclass(frozen=True)
class Cards:
    """Items, one below the other, or `beside` each other where each has but a drawing."""

    form: ClassVar[str] = "cards"
    cards: Sequence[Card]
    beside: bool = False


@dataclass(frozen=True)
class Listing:
    """Text as it is written, under a title."""

    form: ClassVar[str] = "listing"
    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes
    ----------
    key : str
        Safe in HTML ids.
    title : str
    parts : sequence
        `Words`, `Drawings`, `Cards`, `Grid`, `Listing`; text is a paragraph. What is None is left out.
    label : str
        In the list of contents; the title where empty.
    """

    key: str
    title: str
    parts: Sequence[Any]
    label: str = ""

    @property
    def shown_parts(self) -> list[Any]:
        """The parts that there are."""
        return [part for part in self.parts if part is not None]


@dataclass(frozen=True)
class ReportData:
    """What sections are made from.

    Attributes
    ----------
    tables : dict of str to DataFrame
        All tables of the metrics file.
    kinds : mapping of str to str
        Kind of each dataset.
    shown : sequence of Shown
        Items that are shown in full.
    library : Library
        Their matrices and factors.
    """

    tables: Tables
    kinds: Mapping[str, str]
    shown: Sequence[Shown]
    library: Library = field(repr=False)

    def cards(self, make: Callable[[Shown, Material | None], Iterable[Card]]) -> list[Card]:
        """What `make` shows of each item; its material is None where its files are not there."""
        found: list[Card] = []
        for one in self.shown:
            with self.library.open(one) as material:
                found += make(one, material)
        return found
