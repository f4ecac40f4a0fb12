"""A row of the sheet of datasets: its columns, and what stands among its parameters."""

from functools import cache
from typing import Annotated, Any

from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from svdflow.registry import TASKS
from svdflow.registry.kinds import EVERYTHING, IMAGES, MATRIX, SYNTHETIC
from svdflow.registry.options import UNIQUE, UNSET, Count, Matches, OfRow, OneOf, Options, Positive
from svdflow.study.sections import sections

COLOURS = ("gray", "rgb", "ycbcr", "channels")


class RowParameters(Options):
    """What only a row can say."""

    replicates: Annotated[Count, OfRow((SYNTHETIC,), "only a generator has replicates")] = Field(
        default=1, description="How many matrices a generator makes, each from its own seed."
    )
    sigma: Annotated[Positive, OfRow()] = Field(
        default=UNSET, description="Noise level of the items themselves, where it is known."
    )
    poisson: Annotated[bool, OfRow((IMAGES,), "only images hold counts")] = Field(
        default=False,
        description="Images only: their values are counts, denoised through the Anscombe transform.",
    )
    crop: Annotated[Count, OfRow((IMAGES,), "only images are cropped")] = Field(
        default=UNSET, description="Images only: the middle square of this many pixels a side."
    )
    fill: Annotated[
        str,
        Matches(r"(mean|median|[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?)"),
        OfRow((IMAGES, MATRIX), "only images and matrix files have missing values"),
    ] = Field(
        default=UNSET,
        description="What stands in place of missing values, so that they can be factorized: for images `mean` or "
        "`median` of the valid pixels of a plane, or a number; for matrix files a number. No metric of pictures counts "
        "them.",
    )
    data_range: Annotated[Positive, OfRow()] = Field(
        default=UNSET,
        description="Peak of PSNR, NRMSE and SSIM, in place of the one that the files tell (docs/own-images.md).",
    )
    grid: Annotated[
        str,
        Matches("[1-9][0-9]{0,9}(x[1-9][0-9]{0,9}){1,2}"),
        OfRow((MATRIX,), "only a matrix file needs a grid; a generator of stacks brings its own"),
    ] = Field(
        default=UNSET,
        description="Matrices only: the rows are the voxels of a series of this shape, such as `grid=64x64`, its "
        "columns the frames.",
    )


class Row(Options):
    """datasets.tsv"""

    name: Annotated[str, Matches("[A-Za-z0-9][A-Za-z0-9_-]{0,63}")] = Field(
        description="Name of the dataset, a letter or digit, then letters, digits, `_` and `-`, at most 64."
    )
    kind: Annotated[str, OneOf(EVERYTHING)] = Field(
        description="A folder of images, a generator, or a matrix file."
    )
    source: str = Field(
        description="A folder (not those below it), a glob such as `data/**/*.png`, or `manifest:NAME` (images); a "
        "family (synthetic); `FILE` or `FILE:DATASET` (matrix)."
    )
    colour: Annotated[str, OneOf(COLOURS)] = Field(
        default="gray",
        description="Planes of an image; `gray` is BT.601 luma, `channels` every band as it is stored, `c00`, "
        "`c01`, ...",
    )
    noise_sigma: Annotated[list[Positive], UNIQUE] = Field(
        default=[],
        description="Noise levels to add before denoising, in pixel values (8-bit images go to 255), separated by `;`.",
    )
    tasks: Annotated[list[Annotated[str, OneOf(TASKS)]], Field(min_length=1), UNIQUE] = Field(
        default=[task.name for task in TASKS.values() if task.by_default],
        description="What to do, separated by `;`; "
        + ", ".join(
            f"`{word}` is another word for `{task.name}`" for task in TASKS.values() for word in task.aliases
        )
        + ".",
    )
    shard_size: Count = Field(
        default=UNSET,
        description="Items per job. Where none is given 1, and for images about 32 MB of files: 64 to 4096 of them, as "
        "the first plan finds them; the manifest keeps the number.",
    )


def marker(field: FieldInfo) -> OfRow | None:
    """The mark of an option that a row may give."""
    return next((mark for mark in field.metadata if isinstance(mark, OfRow)), None)


@cache
def parameters_model() -> type[Options]:
    """What parameters of a row may say beside those of a generator: what only a row can, and options of sections."""
    places: dict[str, list[str]] = {}
    kinds: dict[str, Any] = {}
    endings: dict[str, str] = {}
    for section, model in sections().items():
        for key, field in model.model_fields.items():
            if mark := marker(field):
                places.setdefault(key, []).append(f"`{section}.{key}`")
                kinds[key] = Annotated[field.annotation, *field.metadata]
                endings[key] = f", such as `{mark.such_as}`." if mark.such_as else "."
    meanings = {key: f"In place of {' and '.join(where)}{endings[key]}" for key, where in places.items()}
    fields: dict[str, Any] = {
        key: (kind, Field(default=UNSET, description=meanings[key])) for key, kind in kinds.items()
    }
    return create_model("Parameters", __base__=RowParameters, **fields)


@cache
def row_model() -> type[Options]:
    """A row with all its parameters, as one class of options."""
    meaning = (
        "`key=value` separated by `;`: a generator's parameters, and the overrides below (lists take `,`)."
    )
    field = Field(default_factory=parameters_model(), description=meaning)
    return create_model("Row", __base__=Row, parameters=(parameters_model(), field))
