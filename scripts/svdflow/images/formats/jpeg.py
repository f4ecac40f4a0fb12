"""JPEG: decoded by Pillow, after a look at whether the stream holds all of its picture.

libjpeg never fails on data that are cut, zeroed or overwritten: it warns, fills the rest with grey or with the last
colour, and returns; Pillow drops the warnings. simplejpeg reports them. Only the entropy decoding matters, so the
picture is made at an eighth of its size, for a sixth of the time of the picture itself. Scans of a progressive
picture that are missing altogether raise no warning, so they are counted here.
"""

import re
import struct

import imagecodecs
import simplejpeg

from svdflow.errors import ItemError
from svdflow.images.formats.containers import Decoded, ImageFile
from svdflow.images.formats.pillow import read_frames

SCAN_LIMIT = (
    200  # scans that are decoded, each a pass over all pixels; encoders write about ten, bombs thousands
)
PADDING_LIMIT = 64  # bytes between the last coded one and the end mark; cameras leave up to about twenty
_EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
# Warnings of headers (libjpeg, jerror.h): the picture is whole whatever they say.
_HARMLESS = ("JFIF", "Adobe color transform", "Invalid SOS parameters")
_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_BARE_MARKERS = {0x01, 0xD8, *range(0xD0, 0xD8)}
_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODED_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive; not lossless, nor hierarchical


def read(file: ImageFile) -> Decoded:
    """The picture of a JPEG file, without the previews that MPO files put behind it; errors as of `check_jpeg`."""
    return read_frames(file, "JPEG", lambda data: jpeg_extent(data)[:2], check=check_jpeg, animated=False)


def jpeg_extent(data: bytes) -> tuple[int, int, int]:
    """Width and height of a JPEG picture, and where its stream ends; other data may follow.

    Markers are walked up to EOI (ITU T.81, B.1): in coded data FF is always followed by 00 or a restart marker.

    Raises
    ------
    ItemError
        ``truncated`` without an end mark, or with scans missing; ``unsupported`` for 12 bits and lossless;
        ``decompression_bomb`` for more scans than any encoder writes.
    struct.error, IndexError
        Data end within a header.
    """
    size = None
    bits: dict[
        int, list[int]
    ] = {}  # component -> of each coefficient, the low bits still to come; 99 for all
    position, scans = 2, 0
    while marker := _MARKER.search(data, position):
        kind, position = marker[1][0], marker.end()
        if kind == 0xD9 and size:
            _check_scans(bits)
            return (*size, position)
        if kind in _BARE_MARKERS:
            continue
        if kind in _FRAME_MARKERS:
            precision, height, width, count = struct.unpack_from(">BHHB", data, position + 2)
            size = width, height
            if precision != 8 or kind not in _DECODED_FRAMES:
                raise ItemError(
                    "unsupported",
                    f"a JPEG of {precision} bits, process {kind - 0xC0}; save it as 16-bit PNG or TIFF",
                )
            bits = {data[position + 8 + 3 * i]: [99] * 64 for i in range(count)}
        elif kind == 0xDA:
            scans += 1
            _note_scan(bits, data, position)
        if scans > SCAN_LIMIT:
            raise ItemError("decompression_bomb", f"a JPEG of more than {SCAN_LIMIT} scans; save it anew")
        position += struct.unpack_from(">H", data, position)[0]
    raise ItemError("truncated", f"JPEG data end without an end-of-image marker, after {len(data)} bytes")


def _note_scan(bits: dict[int, list[int]], data: bytes, position: int) -> None:
    """What a scan brings: coefficients Ss to Se of its components, but for Al low bits (ITU T.81, B.2.3, G.1.1)."""
    count = data[position + 2]
    first, last, approximation = data[position + 3 + 2 * count : position + 6 + 2 * count]
    for i in range(count):
        coefficients = bits.get(data[position + 3 + 2 * i], [])
        for k in range(first, min(last, 63) + 1):
            if k < len(coefficients):
                coefficients[k] = approximation & 15


def _check_scans(bits: dict[int, list[int]]) -> None:
    """After the last scan no coefficient may lack, nor any of its bits."""
    missing = sum(any(left) for left in bits.values())
    if missing:
        raise ItemError(
            "truncated", f"JPEG scans of {missing} of {len(bits)} components are missing; copy the file again"
        )


def check_jpeg(data: bytes) -> None:
    """Refuse a JPEG stream of whose coded data a part is missing or overwritten.

    Raises
    ------
    ItemError
        ``truncated`` where data end early, ``corrupt`` where they cannot be decoded.

    Notes
    -----
    Some cameras leave a few bytes between the last coded one and the end mark: they are taken away, and what is left
    is judged. Data overwritten by other valid codes cannot be told from a picture, for JPEG has no checksum.
    """
    data = data[: jpeg_extent(data)[2]]
    warning = _warning(data)
    extra = _EXTRA.search(warning)
    if extra and int(extra[1]) <= PADDING_LIMIT:
        kept = data[: len(data) - len(_END) - int(extra[1])]
        if kept[-2:] != b"\0\0":  # the padding is no end of an overwritten stretch
            warning = _warning(kept + _END)
    if not warning or any(words in warning for words in _HARMLESS):
        return
    code = "truncated" if "premature end" in warning.lower() else "corrupt"
    raise ItemError(code, f"JPEG data are damaged ({warning}); copy the file again from its source")


def _warning(data: bytes) -> str:
    """What libjpeg warns of, "" where nothing."""
    try:
        colours = simplejpeg.decode_jpeg_header(data, strict=False)[2]
        space = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(colours, "RGB")
        simplejpeg.decode_jpeg(data, colorspace=space, min_height=1, min_width=1, min_factor=8, strict=True)
    except (ValueError, KeyError) as error:
        if isinstance(error, KeyError) or "subsampling" in str(error):  # it knows the usual ratios only
            return _warning_of_recoding(data)
        return str(error)
    return ""


def _warning_of_recoding(data: bytes) -> str:
    """libjxl packs any whole JPEG stream without loss, and refuses one that is not."""
    try:
        imagecodecs.jpegxl_encode_jpeg(data)
    except Exception:
        return "its chroma ratio is unusual, and it cannot be recoded without loss"
    return ""
