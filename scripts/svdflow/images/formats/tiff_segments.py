"""Strips and tiles of a TIFF that are pictures of their own, with a header that could ask for any size."""

import re
import struct

from svdflow.errors import ItemError
from svdflow.images.formats.containers import walked
from svdflow.images.formats.jpeg import check_jpeg, jpeg_extent
from svdflow.images.formats.png import png_extent
from svdflow.images.formats.webp import webp_extent
from svdflow.registry import IMAGE_FORMATS

# TIFF tag Compression: numbers registered with Adobe, by the names that tifffile gives them.
_JPEG, _LERC = 7, 34887
_JPEG2000 = (33003, 33004, 33005, 34712)
_PNG_WEBP = (34933, 50001)
SELF_DESCRIBED = (_JPEG, _LERC, *_JPEG2000, *_PNG_WEBP)
_SIZ = re.compile(rb"\xff\x4f\xff\x51")  # start of a JPEG 2000 codestream (ITU T.800, A.5.1)
_LERC2 = b"Lerc2 "


def check_segment(compression: int, data: bytes, shape: tuple[int, int], tables: bytes | None) -> None:
    """Refuse a strip or tile that declares more rows or columns than its place has, and a JPEG that is not whole.

    Parameters
    ----------
    compression : int
        One of `SELF_DESCRIBED`.
    data : bytes
        The segment as it is stored.
    shape : (rows, columns)
        Of its place.
    tables : bytes or None
        What the JPEG streams of a page share (TIFF TechNote 2).

    Raises
    ------
    ItemError
        ``decompression_bomb``, or as `check_jpeg`.
    """
    if compression == _JPEG and data.startswith(b"\xff\xd8"):
        data = tables[:-2] + data[2:] if tables else data
    declared = _declared(compression, data)
    if declared is None:
        return
    # Edge tiles may be stored whole, or cut to the picture; some writers round up to the blocks of the codec.
    if declared[0] > shape[0] + 63 or declared[1] > shape[1] + 63:
        raise ItemError(
            "decompression_bomb",
            f"a strip of {shape[0]} x {shape[1]} pixels declares {declared[0]} x {declared[1]} in its own header",
        )
    if compression == _JPEG:
        check_jpeg(data)


def _declared(compression: int, data: bytes) -> tuple[int, int] | None:
    """Rows and columns in the header of a segment; None where it has none that is known."""
    try:
        if compression == _JPEG:
            width, height, _ = jpeg_extent(data)
            return height, width
        if compression in _PNG_WEBP:
            for name, extent in (("png", png_extent), ("webp", webp_extent)):
                if IMAGE_FORMATS[name].begins(data):
                    width, height = walked(IMAGE_FORMATS[name].title, extent, data)
                    return height, width
        if compression in _JPEG2000 and (start := _SIZ.search(data)):
            right, bottom, left, top = struct.unpack_from(">IIII", data, start.end() + 4)
            return bottom - top, right - left
        if compression == _LERC and data.startswith(_LERC2):
            version = struct.unpack_from("<i", data, 6)[0]
            return struct.unpack_from("<ii", data, 14 if version >= 3 else 10)
    except (struct.error, IndexError) as error:
        raise ItemError("truncated", "a strip ends within its own header; copy the file again") from error
    return None
