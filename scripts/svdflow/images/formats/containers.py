"""What a reader of image files is given and gives, and the checks before anything is decoded.

Decoders trust their input: some return grey rows for a cut file, some allocate whatever a header asks for.
So the byte stream is walked first, and a bomb or a cut file is refused without being decoded.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from svdflow.errors import ItemError

PIXEL_LIMIT = 89_478_485  # Pillow's limit: a quarter of a gibibyte at three bytes a pixel
FOLD = (
    50  # photographs and scans pack 1 to 30 times at most; a bomb of zeros, deflated, 1,032 times (RFC 1951)
)
WORKING_COPIES = 3  # what decoding holds at once: the pixels, their planes, and one of them as floats


class Page(NamedTuple):
    """One decoded page.

    `array` (H, W) or (H, W, 3); `alpha` (H, W) of the same dtype, or None; `mask` (H, W) bool, True where the
    pixel is valid, or None where all are.
    """

    array: np.ndarray
    alpha: np.ndarray | None = None
    mask: np.ndarray | None = None


Decoded = tuple[list[Page], dict[str, Any]]  # pages, not yet upright, and the attributes of the file


@dataclass(frozen=True)
class ImageFile:
    """A file as a reader of its format is asked for it.

    Attributes
    ----------
    path : Path
        A regular file that begins as files of this format do.
    dataset : str or None
        Name within the file, for formats that hold several arrays.
    pixel_limit : int
        As of `check_size`.
    channels : bool
        Every band as it is stored, in place of colours and alpha.
    """

    path: Path
    dataset: str | None = None
    pixel_limit: int = PIXEL_LIMIT
    channels: bool = False


def walked(title: str, extent: Callable[[bytes], tuple[int, int]], data: bytes) -> tuple[int, int]:
    """Width and height that a byte stream declares, from a function that walks it to its end.

    Raises
    ------
    ItemError
        ``truncated`` when the stream ends before its end mark; what the function itself raises.
    """
    try:
        return extent(data)
    except (struct.error, IndexError) as error:
        raise ItemError("truncated", f"{title} data end within a header, after {len(data)} bytes") from error


def check_size(
    width: int, height: int, pages: int, pixel_limit: int, *, stored: int = 0, pixel_bytes: int = 3
) -> None:
    """Refuse an image that is empty, or that unpacks to far more than its file holds.

    Parameters
    ----------
    width, height, pages : int
        As the header declares them, or the sums of several headers.
    pixel_limit : int
        Up to here every size is taken; above it, one that the file's own size makes believable.
    stored : int
        Bytes of the file.
    pixel_bytes : int
        Bytes of one pixel in memory, all channels.

    Raises
    ------
    ItemError
        ``zero_size``; ``decompression_bomb`` above the limit where the pixels would take more than `FOLD` times
        the bytes of the file; ``too_large`` above the limit where they would not fit in the machine's memory.
    """
    if width < 1 or height < 1 or pages < 1:
        raise ItemError(
            "zero_size", f"declares {width} x {height} pixels, {pages} page(s): nothing to process"
        )
    pixels = width * height * pages
    if pixels <= pixel_limit:
        return
    declared = f"declares {width} x {height} pixels, {pages} page(s): {pixels} in all"
    unpacked = pixels * pixel_bytes
    if unpacked > FOLD * stored:
        raise ItemError(
            "decompression_bomb",
            f"{declared}, above the limit of {pixel_limit}, and {unpacked // max(stored, 1)} times the size of the "
            f"file in memory (up to {FOLD} times is believed); if the file is trusted, raise ingest.pixel_limit",
        )
    if WORKING_COPIES * unpacked > psutil.virtual_memory().total:
        raise ItemError(
            "too_large",
            f"{declared}, {unpacked / 2**30:.1f} GiB, of which {WORKING_COPIES} copies do not fit in this machine's "
            "memory; cut it into tiles, or read it as a matrix",
        )


def split_alpha(array: np.ndarray) -> Page:
    """(H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4) as colour and alpha."""
    if array.ndim == 2:
        return Page(array)
    channels = array.shape[2]
    if channels not in (1, 2, 3, 4):
        raise ItemError("unsupported", f"{channels} channels; an image has at most RGB and alpha")
    colour = array[..., 0] if channels < 3 else array[..., :3]
    return Page(colour, array[..., -1] if channels in (2, 4) else None)
