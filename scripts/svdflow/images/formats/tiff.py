"""TIFF pages as arrays: every sample depth, planar or not, palette, min-is-white, inks, alpha, missing pixels.

Pillow halves 16-bit colour to 8 bits without a word, so TIFF is read by tifffile, which in turn trusts
headers and pads what is missing: sizes, directories and strips are therefore checked first.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from svdflow.errors import ItemError
from svdflow.images.colour import cmyk_to_rgb, from_planes, to_dtype
from svdflow.images.formats.containers import Decoded, ImageFile, Page, check_size
from svdflow.images.formats.tiff_pages import Chosen, count_directories, image_pages
from svdflow.images.formats.tiff_segments import SELF_DESCRIBED, check_segment

# TIFF 6.0, PhotometricInterpretation: samples that carry colour.
_COLOUR_SAMPLES = {"MINISWHITE": 1, "MINISBLACK": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}
_JPEG, _LERC = 7, 34887
_ORIENTATION, _MAX_SAMPLE, _ICC_PROFILE, _GDAL_NODATA, _LERC_PARAMETERS = 274, 281, 34675, 42113, 50674


def read(file: ImageFile) -> Decoded:
    """All full-resolution pages of a TIFF or BigTIFF file; thumbnails and reductions are left out.

    With ``file.channels`` every sample is a band of its own, as it is stored; palettes and YCbCr become RGB even so.

    Returns
    -------
    pages : list of Page
        Not yet turned by the orientation tag. One- to seven-bit samples are scaled to eight bits. The mask is
        False on pixels of the nodata value (GDAL_NODATA), outside a mask page or a LERC mask, and in tiles that
        the file leaves out.
    attrs : dict
        format, mode, exif_orientation, icc_profile, significant_bits.

    Raises
    ------
    ItemError
        ``truncated``, ``corrupt``, ``zero_size``, ``decompression_bomb``, ``too_large`` or ``unsupported``.
    """
    path, pixel_limit, channels = file.path, file.pixel_limit, file.channels
    size = path.stat().st_size
    directories = count_directories(path, size)
    with tifffile.TiffFile(path) as tif:
        if len(tif.pages) != directories:
            raise ItemError("corrupt", f"{len(tif.pages)} of {directories} page directories can be read")
        chosen = image_pages(tif)
        _check_pages(chosen, size, pixel_limit, channels)
        first = chosen[0].page
        turn = _tag(first, _ORIENTATION, 1)
        # A profile of inks does not describe the RGB that comes out.
        inks = _photometric(first) == "SEPARATED"
        attrs = {
            "format": "TIFF",
            "mode": _photometric(first),
            "exif_orientation": int(turn) if turn in range(1, 9) else 1,
            "icc_profile": b"" if inks else bytes(_tag(first, _ICC_PROFILE, b"")),
            "significant_bits": _significant_bits(first),
        }
        return [page for one in chosen for page in _decode(one, channels)], attrs


def _significant_bits(page: Any) -> int:
    """Bits of a sample; fewer where MaxSampleValue states 2^b - 1 (TIFF 6.0, tag 281)."""
    stated = int(np.max(_tag(page, _MAX_SAMPLE, 0)))
    if page.bitspersample == 16 and stated > 255 and stated & (stated + 1) == 0:
        return min(16, stated.bit_length())
    return page.bitspersample


def _check_pages(chosen: list[Chosen], size: int, pixel_limit: int, channels: bool) -> None:
    pixels = values = 0
    for number, one in enumerate(chosen):
        page = one.page
        for part in filter(None, (page, one.mask)):
            check_size(part.imagewidth, part.imagelength, 1, 2**62)
            tile = max(part.tilewidth, 1) * max(part.tilelength, 1)
            _limit(tile, tile * part.samplesperpixel * max(1, part.bitspersample // 8), size, pixel_limit)
        _check_supported(page, channels)
        bands = max(1.0, page.samplesperpixel / 4)
        pixels += int(page.imagewidth * page.imagelength * one.planes * bands)
        itemsize = page.dtype.itemsize * page.samplesperpixel
        values += page.imagewidth * page.imagelength * one.planes * itemsize
        _limit(pixels, values, size, pixel_limit)
        _check_segments(page, number, size, one.planes)
        if one.mask is not None:
            _check_mask(one, number, size)


def _limit(pixels: int, unpacked: int, size: int, pixel_limit: int) -> None:
    check_size(max(pixels, 1), 1, 1, pixel_limit, stored=size, pixel_bytes=-(-unpacked // max(pixels, 1)))


def _check_mask(one: Chosen, number: int, size: int) -> None:
    mask, page = one.mask, one.page
    if (mask.imagewidth, mask.imagelength) != (
        page.imagewidth,
        page.imagelength,
    ) or mask.samplesperpixel != 1:
        raise ItemError(
            "unsupported",
            f"page {number} is {page.imagewidth} x {page.imagelength}, its mask {mask.imagewidth} x "
            f"{mask.imagelength} of {mask.samplesperpixel} samples; save the image without it",
        )
    _check_segments(mask, number, size, 1)


def _check_supported(page: Any, channels: bool) -> None:
    kind, samples = _photometric(page), page.samplesperpixel
    colours = _COLOUR_SAMPLES.get(kind)
    if kind in ("CFA", "LINEAR_RAW"):
        raise ItemError("unsupported", "a raw photograph, not developed; develop it to TIFF")
    if colours is None:
        raise ItemError("unsupported", f"a TIFF of kind {kind}; convert it to RGB or grey")
    if page.dtype is None or page.dtype.kind not in "buif" or page.imagedepth != 1:
        raise ItemError("unsupported", f"TIFF samples of type {page.dtype}, depth {page.imagedepth}")
    if channels or samples == colours or (samples == colours + 1 and _alpha_kind(page)):
        return
    raise ItemError(
        "unsupported",
        f"{samples} samples of kind {kind}, of which none is said to be alpha: bands that are no colours; "
        "colour=channels reads each of them as a plane",
    )


def _check_segments(page: Any, number: int, size: int, planes: int) -> None:
    """Every strip or tile must lie in the file: tifffile pads missing ones with zeros."""
    expected = prod(page.chunked)
    offsets, counts = page.dataoffsets, page.databytecounts
    listed = min(len(offsets), len(counts))
    if listed < expected:
        raise ItemError("truncated", f"page {number}: {listed} of {expected} strips are listed")
    sparse = page.is_tiled or page.is_geotiff or page.is_gdal
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=False)):
        if (not count and (offset or not sparse)) or offset + count > size:
            raise ItemError(
                "truncated",
                f"page {number}: strip {index} of {expected}, {count} bytes at {offset}, in a file of {size}",
            )
    raw = page.compression == 1 and page.bitspersample % 8 == 0 and _photometric(page) != "YCBCR"
    if raw and all(counts) and sum(counts) < page.size * page.bitspersample // 8:
        raise ItemError("truncated", f"page {number}: its strips hold fewer bytes than its pixels need")
    if planes > 1 and offsets[0] + planes * page.nbytes > size:
        raise ItemError(
            "truncated", f"{planes} planes of {page.nbytes} bytes at {offsets[0]}, in a file of {size}"
        )


def _decode(one: Chosen, channels: bool) -> list[Page]:
    """The page, or the planes behind it."""
    page = one.page
    if one.planes > 1:
        handle = page.parent.filehandle
        handle.seek(page.dataoffsets[0])
        stack = handle.read_array(page.parent.byteorder + page._dtype.char, one.planes * page.size)
        shape = one.planes, page.imagelength, page.imagewidth, page.samplesperpixel
        if page.planarconfig == 2:
            raise ItemError(
                "unsupported", "planes of separate colours behind one page header; save them apart"
            )
        return [_page(page, plane, None, channels) for plane in stack.reshape(shape)]
    array, mask = _samples(page)
    if one.mask is not None:
        inside = _samples(one.mask)[0][..., 0] != 0
        mask = inside if mask is None else mask & inside
    return [_page(page, array, mask, channels)]


def _samples(page: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, samples) as stored, and the mask of what the file leaves out: tiles, and pixels of LERC."""
    if page.is_contiguous:
        return _last(page.asarray(squeeze=False, maxworkers=1)), None
    if page.compression in SELF_DESCRIBED:
        rows, columns = min(page.rowsperstrip, page.imagelength), page.imagewidth
        place = (page.tilelength, page.tilewidth) if page.is_tiled else (rows, columns)
        for index, count in enumerate(page.databytecounts[: prod(page.chunked)]):
            if count:
                check_segment(page.compression, _segment(page, index), place, page.jpegtables)
    image = np.zeros(page.shaped, page.dtype)  # (planes, 1, H, W, samples)
    valid = np.ones(page.shaped[:4], bool)
    for index, (segment, place, shape) in enumerate(page.segments(maxworkers=1, _fullsize=False)):
        part = place[0], 0, slice(place[2], place[2] + shape[1]), slice(place[3], place[3] + shape[2])
        if segment is None:
            valid[part] = False
            continue
        rows, columns, _ = image[part].shape
        if segment.shape[1] < rows or segment.shape[2] < columns:
            raise ItemError(
                "truncated",
                f"strip {index} unpacks to {segment.shape[1]} x {segment.shape[2]} of {rows} x {columns} pixels; "
                "copy the file again",
            )
        image[part] = segment[0, :rows, :columns]
        if page.compression == _LERC:
            valid[part] = _lerc_mask(page, index, shape)[:rows, :columns]
    mask = np.all(valid[:, 0], axis=0)
    return _last(image), None if np.all(mask) else np.asarray(mask)


def _last(image: np.ndarray) -> np.ndarray:
    """(planes, 1, H, W, samples) with whichever is more than one at the end: (H, W, samples)."""
    return np.moveaxis(image[:, 0, :, :, 0], 0, -1) if len(image) > 1 else image[0, 0]


def _segment(page: Any, index: int) -> bytes:
    handle = page.parent.filehandle
    handle.seek(page.dataoffsets[index])
    return handle.read(page.databytecounts[index])


def _lerc_mask(page: Any, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """(rows, columns), True where valid; a segment of LERC may be packed again (GDAL, LercParameters)."""
    data = _segment(page, index)
    packing = _tag(page, _LERC_PARAMETERS, (0, 0))[1]
    unpackers: dict[int, Callable[[bytes], Any]] = {
        0: bytes,
        1: imagecodecs.zlib_decode,
        2: imagecodecs.zstd_decode,
    }
    _, mask = imagecodecs.lerc_decode(bytes(unpackers[packing](data)), masks=True)
    if mask is None:
        return np.ones(shape[1:3], bool)
    return np.asarray(np.all(mask.reshape(-1, *shape[1:3]), axis=0))


def _page(page: Any, array: np.ndarray, mask: np.ndarray | None, channels: bool) -> Page:
    """Samples (H, W, samples) as a page: colours, alpha, and pixels of the nodata value out of the mask."""
    kind = _photometric(page)
    absent = _nodata(page, array)
    if absent is not None:
        mask = ~absent if mask is None else mask & ~absent
    colours = _COLOUR_SAMPLES[kind]
    if channels and kind not in ("PALETTE", "YCBCR"):
        array = _scale_to_byte(array, page.bitspersample)
        if kind == "MINISWHITE":
            array = _inverted(array, page.bitspersample)
        return Page(array[..., 0] if array.shape[2] == 1 else array, None, mask)
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
    return Page(array[..., 0] if array.shape[2] == 1 else array, alpha, mask)


def _nodata(page: Any, array: np.ndarray) -> np.ndarray | None:
    """Where any sample has the value of GDAL_NODATA, (H, W); None where the tag is absent or no pixel has it."""
    text = str(_tag(page, _GDAL_NODATA, "")).strip("\0 ")
    try:
        value = int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        return None
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            near = array.dtype.type(value)
        if np.isnan(near):
            return None  # as any NaN
        near = np.clip(near, np.finfo(array.dtype).min, np.finfo(array.dtype).max)
        absent = array == near
    else:
        if array.dtype == bool or not np.isfinite(value) or value != int(value):
            return None
        absent = array == int(value)  # never, where the type does not hold it
    return absent.any(axis=-1) if np.any(absent) else None


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
