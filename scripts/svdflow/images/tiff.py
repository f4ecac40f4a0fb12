"""TIFF pages as arrays: every sample depth, planar or not, palette, min-is-white, inks, alpha.

Pillow halves 16-bit colour to 8 bits without a word, so TIFF is read by tifffile, which in turn trusts
headers and pads what is missing: sizes, directories and strips are therefore checked first.
"""

import struct
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from svdflow.images.colour import cmyk_to_rgb, from_planes, to_dtype
from svdflow.images.containers import Decoded, Page, check_size
from svdflow.store import ItemError

# TIFF 6.0, PhotometricInterpretation: samples that carry colour.
_COLOUR_SAMPLES = {"MINISWHITE": 1, "MINISBLACK": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}
# TIFF 6.0, section 2, with the types of BigTIFF; private tags may be sloppy without harm.
_TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_PRIVATE_TAGS = 32768
_JPEG = 7
_ORIENTATION, _ICC_PROFILE = 274, 34675


def read_tiff(path: Path, pixel_limit: int) -> Decoded:
    """All full-resolution pages of a TIFF or BigTIFF file; thumbnails and masks are left out.

    Returns
    -------
    pages : list of Page
        Not yet turned by the orientation tag. One- to seven-bit samples are scaled to eight bits.
    attrs : dict
        format, mode, exif_orientation, icc_profile, significant_bits.

    Raises
    ------
    ItemError
        ``truncated``, ``corrupt``, ``zero_size``, ``decompression_bomb`` or ``unsupported``.
    """
    size = path.stat().st_size
    directories = _count_directories(path, size)
    with tifffile.TiffFile(path) as tif:
        if len(tif.pages) != directories:
            raise ItemError("corrupt", f"{len(tif.pages)} of {directories} page directories can be read")
        _refuse_hidden_pages(tif)
        found: list[Any] = list(tif.pages)
        pages = [p for p in found if not (p.is_reduced or p.is_mask)] or found
        _check_pages(pages, size, pixel_limit)
        first = pages[0]
        inks = (
            _photometric(first) == "SEPARATED"
        )  # a profile of inks does not describe the RGB that comes out
        attrs = {
            "format": "TIFF",
            "mode": _photometric(first),
            "exif_orientation": int(_tag(first, _ORIENTATION, 1)),
            "icc_profile": b"" if inks else bytes(_tag(first, _ICC_PROFILE, b"")),
            "significant_bits": first.bitspersample,
        }
        return [_decode(page) for page in pages], attrs


def _count_directories(path: Path, size: int) -> int:
    """Follow the chain of page directories to its end (TIFF 6.0, section 2; BigTIFF has 8-byte offsets)."""
    with path.open("rb") as stream:
        head = stream.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        count, entry, link = (order + "Q", 20, order + "Q") if big else (order + "H", 12, order + "I")
        field = order + ("HHQQ" if big else "HHII")
        seen: set[int] = set()
        try:
            (offset,) = struct.unpack_from(link, head, 8 if big else 4)
            while offset:
                if offset in seen:
                    raise ItemError("corrupt", f"page directories form a loop at byte {offset}")
                seen.add(offset)
                stream.seek(offset)
                (entries,) = struct.unpack(count, stream.read(struct.calcsize(count)))
                if entries * entry > size:
                    raise ItemError(
                        "truncated", f"page {len(seen) - 1} has {entries} tags, past the file's end"
                    )
                tags = stream.read(entries * entry)
                (offset,) = struct.unpack(link, stream.read(struct.calcsize(link)))
                _check_tags(struct.iter_unpack(field, tags), struct.calcsize(link), size)
        except (struct.error, OSError, OverflowError) as error:
            raise ItemError("truncated", f"page {len(seen)} lies past the end of the file") from error
    if not seen:
        raise ItemError("zero_size", "a TIFF header without any page")
    return len(seen)


def _check_tags(fields: Iterable[tuple[int, ...]], inline: int, size: int) -> None:
    """Values that do not fit a tag stand elsewhere in the file: tifffile drops a tag whose value is cut."""
    for code, kind, count, place in fields:
        length = _TYPE_BYTES.get(kind, 0) * count
        if code < _PRIVATE_TAGS and length > inline and place + length > size:
            raise ItemError("truncated", f"the value of tag {code} ends at byte {place + length} of {size}")


def _refuse_hidden_pages(tif: tifffile.TiffFile) -> None:
    """ImageJ and tifffile can put many planes behind one header; reading only the first would lose them."""
    planes = int((tif.imagej_metadata or {}).get("images", 1)) if tif.is_imagej else 1
    truncated = any(m.get("truncated") for m in tif.shaped_metadata or ())
    if planes > len(tif.pages) or truncated:
        raise ItemError(
            "unsupported", "many planes stand behind one page header; save it as an ordinary multi-page TIFF"
        )


def _check_pages(pages: list[Any], size: int, pixel_limit: int) -> None:
    total = 0
    for number, page in enumerate(pages):
        check_size(page.imagewidth, page.imagelength, 1, pixel_limit)
        check_size(max(page.tilewidth, 1), max(page.tilelength, 1), 1, pixel_limit)
        total += page.imagewidth * page.imagelength
        _check_supported(page)
        _check_segments(page, number, size)
    check_size(total, 1, 1, pixel_limit)


def _check_supported(page: Any) -> None:
    colours, samples = _COLOUR_SAMPLES.get(_photometric(page)), page.samplesperpixel
    if colours is None:
        raise ItemError("unsupported", f"a TIFF of kind {_photometric(page)}; convert it to RGB or grey")
    if page.dtype is None or page.dtype.kind not in "buif" or page.imagedepth != 1:
        raise ItemError("unsupported", f"TIFF samples of type {page.dtype}, depth {page.imagedepth}")
    grey_stack = colours == 1 and samples == 3  # three grey channels: taken as red, green, blue
    alpha = samples == colours + 1 and (colours > 1 or _alpha_kind(page) > 0)
    if samples != colours and not alpha and not grey_stack:
        raise ItemError("unsupported", f"{samples} channels of kind {_photometric(page)}; save them apart")


def _check_segments(page: Any, number: int, size: int) -> None:
    """Every strip or tile must lie in the file: tifffile pads missing ones with zeros."""
    expected = prod(page.chunked)
    offsets, counts = page.dataoffsets, page.databytecounts
    listed = min(len(offsets), len(counts))
    if listed < expected:
        raise ItemError("truncated", f"page {number}: {listed} of {expected} strips are listed")
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=False)):
        if not count or offset + count > size:
            raise ItemError(
                "truncated",
                f"page {number}: strip {index} of {expected}, {count} bytes at {offset}, in a file of {size}",
            )
    raw = page.compression == 1 and page.bitspersample % 8 == 0 and _photometric(page) != "YCBCR"
    if raw and sum(counts) < page.size * page.bitspersample // 8:
        raise ItemError("truncated", f"page {number}: its strips hold fewer bytes than its pixels need")


def _decode(page: Any) -> Page:
    data = page.asarray(maxworkers=1).reshape(page.shaped)  # (planes, 1, H, W, samples)
    array = np.moveaxis(data[:, 0, :, :, 0], 0, -1) if data.shape[0] > 1 else data[0, 0]
    kind = _photometric(page)
    colours = 3 if array.shape[2] == 3 else _COLOUR_SAMPLES[kind]
    array, extra = array[..., :colours], array[..., colours:]
    alpha = _scale_to_byte(extra[..., 0], page.bitspersample) if extra.shape[2] else None
    if kind == "PALETTE":
        array = _palette_colours(page.colormap)[array[..., 0].astype(np.intp)]
    else:
        array = _scale_to_byte(array, page.bitspersample)
    if kind == "MINISWHITE":
        array = _inverted(array, page.bitspersample)
    elif kind == "SEPARATED":
        array = cmyk_to_rgb(array)
    elif kind == "YCBCR" and page.compression != _JPEG:  # the JPEG decoder has turned it into RGB already
        array = from_planes(dict(zip(("y", "cb", "cr"), np.moveaxis(array, -1, 0), strict=True)), "ycbcr")
    if alpha is not None and _alpha_kind(page) == 1:
        array = _unassociated(array, alpha)
    return Page(array[..., 0] if array.shape[2] == 1 else array, alpha)


def _palette_colours(colormap: np.ndarray) -> np.ndarray:
    """Table (entries, 3). Palettes are 16-bit; most are 8-bit ones times 256 or 257 and come back so."""
    table = np.ascontiguousarray(colormap.T)
    high = table >> 8
    if table.max() < 256:  # written without scaling, as libtiff's checkcmap assumes
        return table.astype(np.uint8)
    if np.array_equal(table, high * 256) or np.array_equal(table, high * 257):
        return high.astype(np.uint8)
    return table


def _scale_to_byte(array: np.ndarray, bits: int) -> np.ndarray:
    """Samples of one to seven bits fill the range of a byte; wider ones stay as they are."""
    if bits >= 8:
        return array
    return (array.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)


def _inverted(array: np.ndarray, bits: int) -> np.ndarray:
    if array.dtype.kind != "u":
        raise ItemError("unsupported", f"min-is-white with {array.dtype} samples, which have no white")
    white = 2 ** max(bits, 8) - 1
    return (white - array).astype(array.dtype)


def _unassociated(array: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colour divided by its alpha (TIFF 6.0, ExtraSamples 1: stored colour is already multiplied)."""
    peak = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
    weight = np.where(alpha == 0, 1.0, alpha / peak)
    return to_dtype(array / weight[..., None], array.dtype)


def _photometric(page: Any) -> str:
    return getattr(page.photometric, "name", str(page.photometric))


def _alpha_kind(page: Any) -> int:
    """0 unspecified, 1 multiplied into the colour, 2 apart from it."""
    return int(page.extrasamples[0]) if page.extrasamples else 0


def _tag(page: Any, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value
