"""Commands on one archive: encode an array or a grey picture, decode it again."""

import argparse
import math
import os
from pathlib import Path
from typing import Any

from svdflow.command_line.argument_types import count, figure, target
from svdflow.command_line.command import DATA_RANGE, FORCE, Command, Option, option, refuse_input
from svdflow.escaping import visible
from svdflow.registry import ARCHIVE_FORMS
from svdflow.study.value_range import GIVEN

TARGETS = ("rel_error", "psnr", "max_abs", "bytes")


def encode(args: argparse.Namespace) -> int:
    """Archive an array (.npy, or a grey image) as quantized factors, at an error or a size."""
    import numpy as np

    from svdflow.codec import encode as encode_array
    from svdflow.codec.forms import square_of
    from svdflow.images.item_range import value_range

    targets = {key: value for key in TARGETS if (value := getattr(args, key)) is not None}
    if len(targets) != 1:
        raise ValueError(f"encode: name one of {', '.join(map(_option, TARGETS))}")
    refuse_input(args.file, [Path(args.out)])
    array, data_range, source = _array(Path(args.file))
    if args.nan_missing and array.dtype.kind == "f":
        array = np.ma.masked_where(np.isnan(array), array)
    if args.data_range is not None:
        data_range, source = args.data_range, GIVEN
    elif data_range is None and array.dtype.kind in "fiu":
        data_range, source = value_range([np.ma.compressed(array)])[2:]
    block = None if Path(args.file).suffix == ".npy" else square_of(array)
    info = encode_array(
        array, args.out, form=args.form, block=block, data_range=data_range, force=args.force, **targets
    )
    size = f"{info.bytes:,} bytes, {info.bits_per_value:.3g} bits a value"
    errors = f"relative error {info.rel_error:.3g}, largest error {info.max_abs:.3g}, PSNR {info.psnr:.2f} dB"
    errors += f" with data range {data_range:g}: {source}" if source else ""
    missing = f"; {info.masked} values are missing" if info.masked else ""
    missing += f"; a large picture, in squares of {block}" if block else ""
    print(f"{visible(args.out)}: form {info.form}, rank {info.rank}; {size}; {errors}{missing}")
    return 0


def decode(args: argparse.Namespace) -> int:
    """Decode an archive into a .npy file or, by its ending, a picture; at a smaller rank if one is given."""
    import numpy as np

    from svdflow.codec import decode as decode_archive
    from svdflow.images.io import write_image
    from svdflow.store.files import publish_file

    refuse_input(args.archive, [Path(args.out)])
    array = _filled(decode_archive(args.archive, rank=args.rank), args)
    with publish_file(args.out, force=args.force) as unfinished:
        if unfinished.suffix == ".npy":
            np.save(unfinished, array)
        else:
            write_image(unfinished, array)
    print(f"{visible(args.out)}: {' x '.join(map(str, array.shape))}, {array.dtype}")
    return 0


def _array(path: Path) -> tuple[Any, float | None, str]:
    """An array of numbers with its data range and where that comes from, from a .npy file or a grey image.

    A picture with missing pixels is a masked array.
    """
    import numpy as np

    if path.suffix == ".npy":
        return _npy(path), None, ""
    from svdflow.images.colour import luma
    from svdflow.images.io import read_image

    record = read_image(path)
    if len(record.pages) > 1:
        raise ValueError(
            f"{path}: {len(record.pages)} pages; save them as one .npy array (height, width, pages)"
        )
    page, mask = record.pages[0].array, record.pages[0].mask
    plane = luma(page) if page.ndim == 3 else page
    whole = plane if mask is None else np.ma.MaskedArray(plane, ~mask)
    return whole, record.attrs["data_range"], record.attrs["data_range_source"]


def _npy(path: Path) -> Any:
    """The array of a .npy file; what NumPy says of one that is none may advise to unpickle it."""
    import numpy as np

    from svdflow.matrix.formats.raw import npy_header

    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{path}: not a regular file")
    with path.open("rb") as file:
        shape, _, dtype = npy_header(file, str(path))
        held = os.fstat(file.fileno()).st_size - file.tell()
    if dtype.kind not in "biufc" or math.prod(shape) * dtype.itemsize > held:
        raise ValueError(f"{path}: holds no numbers, or fewer than its header says")
    return np.load(path, allow_pickle=False)


def _filled(array: Any, args: argparse.Namespace) -> Any:
    """A plain array; missing values become the number that was asked for, or NaN where the type has one."""
    import numpy as np

    if not isinstance(array, np.ma.MaskedArray):
        return array
    if args.fill is None and (array.dtype.kind != "f" or Path(args.out).suffix != ".npy"):
        raise ValueError(
            f"{args.archive}: {np.ma.count_masked(array)} values are missing, and {array.dtype} in {args.out} has no "
            "sign for that; name a number for them: --fill"
        )
    if args.fill is not None and not _holds(array.dtype, args.fill):
        wanted = "number" if array.dtype.kind == "f" else "whole number"
        raise ValueError(f"--fill {args.fill:g} is no value of {array.dtype}; take a {wanted} that it holds")
    return array.filled(np.nan if args.fill is None else args.fill)


def _holds(dtype: Any, value: float) -> bool:
    """Whether a number is one of an integer type, or within the range of a float type."""
    import numpy as np

    if dtype.kind == "f":
        return abs(value) <= float(np.finfo(dtype).max)
    if dtype.kind == "b":
        return value in (0, 1)
    return value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _encode_options() -> list[Option]:
    return [
        option("file", help="a .npy array, or an image, of which the luma is taken"),
        option("out", help="the archive, an HDF5 file"),
        option("--form", choices=["auto", *ARCHIVE_FORMS], default="auto"),
        option("--nan-missing", action="store_true", help="NaN are missing values, and stay so"),
        *(option(_option(kind), type=target(kind)) for kind in TARGETS),
        FORCE,
        DATA_RANGE,
    ]


DECODE_OPTIONS = [
    option("archive"),
    option("out", help="a .npy file, or a picture"),
    option("--rank", type=count),
    option("--fill", type=figure, help="number that missing values become"),
    FORCE,
]
COMMANDS = [Command(encode, _encode_options), Command(decode, DECODE_OPTIONS)]
