"""What an image file says of itself before it is decoded: format, declared size, and whether it is all there.

Decoders trust their input: some return grey rows for a cut file, some allocate whatever a header asks for.
So the byte stream is walked first, and a bomb or a cut file is refused without being decoded.
"""

import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import psutil

from svdflow.images.formats.jpeg import jpeg_extent
from svdflow.store import ItemError

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


class Container(NamedTuple):
    """Format by content (never by extension) and the size that the header declares, in pixels."""

    format: str
    width: int
    height: int


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


def format_of(head: bytes) -> str | None:
    """Name of the format whose signature the first 16 bytes bear, or None."""
    for name, signature in _SIGNATURES.items():
        if signature.match(head):
            return name
    return None


def examine(data: bytes) -> Container:
    """Walk the byte stream of a PNG, JPEG, GIF, WebP or BMP file.

    Raises
    ------
    ItemError
        ``truncated`` when the stream ends before its end mark, ``corrupt`` when its structure is broken.
    """
    name = format_of(data[:16])
    if name is None or name not in _WALKERS:
        raise ItemError("unsupported", f"{name} is not a byte stream that can be walked")
    try:
        width, height = _WALKERS[name](data)
    except (struct.error, IndexError) as error:
        raise ItemError("truncated", f"{name} data end within a header, after {len(data)} bytes") from error
    return Container(name, width, height)


_SHAPING = (b"tRNS", b"acTL", b"fcTL", b"fdAT")


def _png(data: bytes) -> tuple[int, int]:
    """Chunks up to IEND, with the checksums of those that shape pixels (PNG specification, 5.3)."""
    width, height = struct.unpack_from(">II", data, 16)
    position = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise ItemError("truncated", f"PNG chunk at byte {position} ends at byte {end} of {len(data)}")
        checksum = struct.unpack_from(">I", data, end - 4)[0]
        if (kind[:1].isupper() or kind in _SHAPING) and zlib.crc32(data[position + 4 : end - 4]) != checksum:
            raise ItemError("corrupt", f"PNG chunk at byte {position} does not match its checksum")
        if kind == b"IEND":
            return width, height
        position = end


def _jpeg(data: bytes) -> tuple[int, int]:
    width, height, _ = jpeg_extent(data)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    """Blocks up to the trailer (GIF89a, appendix A)."""
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


# Coded data look random; WebP has no checksum, and its decoder takes a run of zeros for a picture.
_HOLE = bytes(1024)


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


def _webp(data: bytes) -> tuple[int, int]:
    """RIFF length and the size in the first chunk (RFC 9649, 2.4 to 2.7)."""
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


def _bmp(data: bytes) -> tuple[int, int]:
    """Size in the information header; rows may be stored downwards (negative height)."""
    header = struct.unpack_from("<I", data, 14)[0]
    if header == 12:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


_SIGNATURES = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0", re.DOTALL),  # and the header's length
    "NPY": re.compile(rb"\x93NUMPY"),
    "HDF5": re.compile(rb"\x89HDF\r\n\x1a\n"),
}
_WALKERS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "GIF": _gif,
    "WEBP": _webp,
    "BMP": _bmp,
}
