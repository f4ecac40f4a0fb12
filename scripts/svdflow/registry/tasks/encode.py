"""encode: archives of quantized factors, beside other codecs; and what an archive can be asked to reach.

Bounds are those that no image or matrix can meet or miss, so that a target is refused before anything is read.
"""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from svdflow.registry import ARCHIVE_FORMS, CODECS, IMAGE_FORMATS, MATRIX_FORMATS
from svdflow.registry.numerals import real, whole
from svdflow.registry.options import UNIQUE, Matches, OfRow, OneOf, Options
from svdflow.registry.tables import BITS_PER_PIXEL, JUDGED, KEY, SHAPE, Column, Table
from svdflow.registry.task import Asked, Task

LEAST_BYTES = 2048  # bytes that no archive fits in: HDF5 alone takes more (2,226 of an array of one value)
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
        default=["svd", "tiles", "tucker"],  # what others install is taken where it is named
        description="Forms of an archive that are compared where they apply; the smallest one is kept.",
    )
    codecs: Annotated[list[Annotated[str, OneOf(CODECS)]], UNIQUE] = Field(
        default=["png", "jpeg", "jpeg2000", "webp", "avif", "zfp", "sz3", "zstd"],
        description="Codecs to compare with, pictures' for images and fields' for matrices.",
    )


def seconds(_: Asked) -> float:
    """Of all codecs and forms of an archive; benchmarks/images.py --case encode."""
    return 20.0


RATES = Table(
    name="rates",
    columns=(
        *KEY,
        *SHAPE,
        Column("codec", "text", "", "svdflow, or the codec that it is compared with"),
        Column("form", "text", "", "of an archive: svd, tiles or tucker; empty for others"),
        Column("setting", "text", "", "what the codec was told: a step, a quality, a tolerance"),
        Column("lossless", "bool", "", "whether the codec gives back every bit"),
        Column("bytes", "int", "byte", "size of the file, all side information counted"),
        BITS_PER_PIXEL,
        Column("relative_error", "float", "1", "of what decodes, against the plane"),
        Column("max_error", "float", "value", "largest absolute error of what decodes"),
        Column("psnr", "float", "dB", "of what decodes, with data_range"),
        *JUDGED,
        Column("ssim", "float", "1", "of what decodes; NaN for matrices"),
        Column("target", "text", "", "what an archive was to reach; empty where none was named"),
        Column("kept", "bool", "", "whether the archive stands under archives/"),
        Column("note", "text", "", "why an archive keeps little of its plane; empty where it does not"),
    ),
    caption="Codecs per dataset, medians over planes: PSNR at equal bits per pixel, bits per value at equal relative "
    "error, and the BD-rate in percent of JPEG's bytes; nothing is extrapolated.",
    summary="svdflow.tasks.encode_rates:rate_summary",
)

DECLARED = [
    Task(
        name="encode",
        summary="Archive the planes of a shard at their target, and compare bytes on disk with other codecs.",
        options=EncodeOptions,
        tables=(RATES,),
        reads=("matrices",),
        uses={"forms": ARCHIVE_FORMS, "codecs": CODECS},
        unused=(IMAGE_FORMATS, MATRIX_FORMATS),  # a shard holds values
        leaves={"archives": "archives/{dataset}/{shard}"},
        judged=True,
        seeded=True,
        needs_factors=lambda asked: False,
        seconds=seconds,
        load="svdflow.tasks.encode:encode_shard",
        sections="svdflow.tasks.encode_report:sections",
        notes="svdflow.tasks.encode_report:notes",
    )
]
