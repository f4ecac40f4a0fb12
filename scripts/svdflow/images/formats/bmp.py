"""BMP, decoded by Pillow."""

import struct

from svdflow.images.formats.containers import Decoded, ImageFile
from svdflow.images.formats.pillow import read_frames


def read(file: ImageFile) -> Decoded:
    """All frames of a BMP file; errors as of `read_frames`."""
    return read_frames(file, "BMP", bmp_extent)


def bmp_extent(data: bytes) -> tuple[int, int]:
    """Width and height, in the information header; rows may be stored downwards (negative height)."""
    header = struct.unpack_from("<I", data, 14)[0]
    if header == 12:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)
