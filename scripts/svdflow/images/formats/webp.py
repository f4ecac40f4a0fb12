"""WebP, decoded by Pillow."""

import struct

from svdflow.errors import ItemError
from svdflow.images.formats.containers import Decoded, ImageFile
from svdflow.images.formats.pillow import read_frames

# Coded data look random; WebP has no checksum, and its decoder takes a run of zeros for a picture.
_HOLE = bytes(1024)


def read(file: ImageFile) -> Decoded:
    """All frames of a WebP file; errors as of `read_frames`."""
    return read_frames(file, "WEBP", webp_extent)


def _refuse_holes(data: bytes, position: int, end: int) -> None:
    """Chunks of coded pixels, those of frames too, whose data are zero over a stretch (RFC 9649, 2.3)."""
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, position)
        stop = min(position + 8 + length, end)
        if kind == b"ANMF":
            _refuse_holes(data, position + 24, stop)
        elif kind in (b"VP8 ", b"VP8L") and (hole := data.find(_HOLE, position, stop)) >= 0:
            raise ItemError(
                "corrupt", f"WebP data are zero from byte {hole} on; copy the file again from its source"
            )
        position += 8 + length + length % 2


def webp_extent(data: bytes) -> tuple[int, int]:
    """Width and height; the RIFF length, and the size in the first chunk (RFC 9649, 2.4 to 2.7)."""
    declared = struct.unpack_from("<I", data, 4)[0] + 8
    if declared > len(data):
        raise ItemError("truncated", f"WebP declares {declared} bytes and has {len(data)}")
    _refuse_holes(data, 12, declared)
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ItemError("corrupt", "WebP begins with an unknown chunk")
