"""encode: archives of quantized factors, beside other codecs; and what an archive can be asked to reach.

Bounds are those that no image or matrix can meet or miss, so that a target is refused before anything is read.
"""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from svdflow.registry import ARCHIVE_FORMS, CODECS
from svdflow.registry.numerals import real, whole
from svdflow.registry.options import UNIQUE, Matches, OfRow, OneOf, Options

LEAST_BYTES = 2048  # of the file of an archive: HDF5 alone takes more (2,226 of an array of one value)
MOST_DECIBELS = 320.0  # psnr of a double's last bit


def parse_target(text: str) -> tuple[str, float | int]:
    """The kind and the number of ``rel_error=1e-3`` and its like.

    Raises
    ------
    ValueError
        It is none, or one that nothing meets or that a constant would; the message says what to ask for.
    """
    kind, _, number = text.partition("=")
    if kind == "bytes":
        size = whole(number)
        if size < LEAST_BYTES:
            raise ValueError(
                f"{text} cannot be met: an archive of one value takes more than {LEAST_BYTES:,} bytes; allow more"
            )
        return kind, size
    value = real(number)
    if kind == "rel_error" and not 0 < value < 1:
        raise ValueError(
            f"{text}: quantized factors never reach 0, and nothing at all reaches 1; ask for between"
        )
    if kind == "psnr" and not 0 < value <= MOST_DECIBELS:
        raise ValueError(f"{text}: a PSNR lies above 0 and at most at {MOST_DECIBELS:g} dB; ask for between")
    if kind == "max_abs" and not value > 0:
        raise ValueError(f"{text} cannot be met: quantized factors lose a little; ask for more than 0")
    return kind, value


def _reachable(text: str) -> str:
    try:
        parse_target(text)
    except ValueError as error:
        raise PydanticCustomError("said", "{words}", {"words": str(error)}) from error
    return text


class EncodeOptions(Options):
    """Archives of quantized factors, and bytes on disk beside other codecs."""

    target: Annotated[
        str,
        Matches(r"((rel_error|psnr|max_abs)=[0-9]*[.]?[0-9]+([eE][+-]?[0-9]+)?|bytes=[1-9][0-9]*)"),
        AfterValidator(_reachable),
        OfRow(such_as="target=rel_error=1e-3"),
    ] = Field(
        default="psnr=35",
        description="What an archive must reach, `rel_error=`, `psnr=`, `max_abs=` or `bytes=` with a number; verified "
        "on what decodes from it.",
    )
    forms: Annotated[list[Annotated[str, OneOf(ARCHIVE_FORMS)]], Field(min_length=1), UNIQUE] = Field(
        default=list(ARCHIVE_FORMS),
        description="Forms of an archive that are compared where they apply; the smallest one is kept.",
    )
    codecs: Annotated[list[Annotated[str, OneOf(CODECS)]], UNIQUE] = Field(
        default=list(CODECS),
        description="Codecs to compare with, pictures' for images and fields' for matrices.",
    )
