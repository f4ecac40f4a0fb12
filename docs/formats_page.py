"""The page docs/formats.md: what is read and compared, from the registry, so that it cannot fall behind it."""

from collections.abc import Iterable

from svdflow.registry import ARCHIVE_FORMS, CODECS, IMAGE_FORMATS, MATRIX_FORMATS
from svdflow.registry.kinds import MatrixFormat

HEAD = """\
# Formats

Generated from `scripts/svdflow/registry` by `make docs`. Formats of images and matrices are told by how a file begins,
whatever its name; where a format has no such sign, by the suffix. Folders of pictures are searched by suffix.
"""


def markdown() -> str:
    """The whole page."""
    images = [
        (form.title, _code(form.suffixes), form.summary, form.source) for form in IMAGE_FORMATS.values()
    ]
    matrices = [
        (form.title, _code(form.suffixes), form.summary, _use(form), form.source)
        for form in MATRIX_FORMATS.values()
    ]
    codecs = [
        (
            f"`{name}`",
            codec.title,
            "pictures" if codec.picture else "fields and arrays",
            ", ".join(codec.dtypes),
            codec.summary,
            codec.source,
        )
        for name, codec in CODECS.items()
    ]
    forms = [
        (f"`{name}`", _span(form.dimensions), form.summary, form.source)
        for name, form in ARCHIVE_FORMS.items()
    ]
    return "\n".join(
        [
            HEAD,
            *_table("Images", "format | suffixes | what is read | source", images),
            *_table("Matrices", "format | suffixes | what is read | how | source", matrices),
            "A dataset within a file or folder is named behind a colon: `FILE:DATASET`.\n",
            *_table("Codecs", "name | codec | of | types | settings | source", codecs),
            *_table("Forms of an archive", "name | dimensions | what is kept | source", forms),
        ]
    )


def _table(title: str, heads: str, rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [f"## {title}\n", f"| {heads} |", "|" + "---|" * (heads.count("|") + 1), *lines, ""]


def _use(form: MatrixFormat) -> str:
    words = "in panels" if form.panels else "held in memory"
    return f"{words}; has datasets" if "dataset" in form.takes else words


def _code(suffixes: Iterable[str]) -> str:
    return ", ".join(f"`{suffix}`" for suffix in suffixes)


def _span(dimensions: tuple[int, int]) -> str:
    low, high = dimensions
    return str(low) if low == high else f"{low} and more"
