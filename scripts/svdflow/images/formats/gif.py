"""GIF, decoded by Pillow."""

import struct

from svdflow.errors import ItemError
from svdflow.images.formats.containers import Decoded, ImageFile
from svdflow.images.formats.pillow import read_frames


def read(file: ImageFile) -> Decoded:
    """All frames of a GIF file; errors as of `read_frames`."""
    return read_frames(file, "GIF", gif_extent)


def gif_extent(data: bytes) -> tuple[int, int]:
    """Width and height; walks the blocks up to the trailer (GIF89a, appendix A)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _colour_table(flags)
    while data[position] != 0x3B:
        if data[position] == 0x21:
            position = _skip_blocks(data, position + 2)
        elif data[position] == 0x2C:
            position = _skip_blocks(data, position + 11 + _colour_table(data[position + 9]))
        elif data[position] == 0x00:
            position += 1  # some writers pad
        else:
            raise ItemError("corrupt", f"GIF block of unknown kind at byte {position}")
    return width, height


def _colour_table(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, position: int) -> int:
    while data[position]:
        position += 1 + data[position]
    return position + 1
