"""Which directories of a TIFF file are its image: the full resolution, all planes, and the masks that belong to them.

A file may begin with a thumbnail (raw photographs), hold the image in a SubIFD, follow it with halves and quarters
(pyramids, overviews) or with masks, or put many planes behind one directory (ImageJ, MetaMorph). tifffile lists what
is there; choosing is done here.
"""

import struct
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from svdflow.errors import ItemError

# TIFF 6.0, section 2, with the types of BigTIFF; private tags may be sloppy without harm.
_TYPE_BYTES = dict.fromkeys((1, 2, 6, 7), 1) | dict.fromkeys((3, 8), 2) | dict.fromkeys((4, 9, 11, 13), 4)
_TYPE_BYTES |= dict.fromkeys((5, 10, 12, 16, 17, 18), 8)
_PRIVATE_TAGS = 32768  # the first number of a private tag (TIFF 6.0, section 8)
# NewSubfileType (TIFF 6.0, tag 254; DNG 1.7 adds depth, gain maps, enhanced and semantic images).
_REDUCED, _MASK, _NEVER = 1, 4, 8 | 16 | 32 | 65536
_SUBDIRECTORY_LEVELS = 3
_SLIDES = ("scn", "bif", "qpi", "philips", "avs", "ndpi", "eer")  # tifffile's names of scanners' own layouts
# Layouts whose metadata say how many planes there are (tifffile's names).
_DESCRIBED = ("ome", "lsm", "mmstack", "ndtiff", "fluoview", "sis", "scanimage", "metaseries", "micromanager")


class Chosen(NamedTuple):
    """A directory that is an image; its mask, if one follows; planes behind it, 1 where it is what it shows."""

    page: Any
    mask: Any = None
    planes: int = 1


def count_directories(path: Path, size: int) -> int:
    """Follow the chain of page directories to its end (TIFF 6.0, section 2; BigTIFF has 8-byte offsets).

    Raises
    ------
    ItemError
        ``truncated``, ``corrupt`` or ``zero_size``.
    """
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


def image_pages(tif: tifffile.TiffFile) -> list[Chosen]:
    """The directories that are the image, at full resolution, in the order of the file.

    Raises
    ------
    ItemError
        ``unsupported`` where planes could be lost, ``corrupt`` where subdirectories cannot be read.
    """
    for kind in _SLIDES:
        if getattr(tif, f"is_{kind}"):
            raise ItemError("unsupported", f"a slide of the kind {kind}; export the level you want as TIFF")
    pages = list(tif.pages)
    if hidden := _planes_behind(tif):
        return [Chosen(pages[0], planes=hidden)]
    _refuse_missing_planes(tif)
    families = [[page, *_subdirectories(page)] for page in pages]
    if tif.is_svs:  # the scan; then a thumbnail and reductions, which are not marked
        families = families[:1]
    images = [page for family in families for page in _largest([p for p in family if _full(p)])]
    if not images:  # nothing but reductions: the largest of them, or a stack of equal ones
        flat = [p for family in families for p in family if not _subfile(p) & (_MASK | _NEVER)]
        if not flat:
            raise ItemError("unsupported", "a TIFF of masks alone, without an image")
        images = _largest(flat)
    return _with_masks(_without_reductions(images), [p for family in families for p in family])


def _subfile(page: Any) -> int:
    return int(page.subfiletype)


def _full(page: Any) -> bool:
    return not _subfile(page) & (_REDUCED | _MASK | _NEVER)


def _is_mask(page: Any) -> bool:
    return _subfile(page) & (_REDUCED | _MASK | _NEVER) == _MASK


def _largest(pages: list[Any]) -> list[Any]:
    """Those of the largest area, in their order."""
    area = max((p.imagewidth * p.imagelength for p in pages), default=0)
    return [p for p in pages if p.imagewidth * p.imagelength == area]


def _subdirectories(page: Any, level: int = 1) -> list[Any]:
    """The pages of the tag SubIFDs, and of theirs."""
    if not page.subifds or level > _SUBDIRECTORY_LEVELS:
        return []
    try:
        own = list(page.pages)
    except Exception as error:
        raise ItemError("corrupt", "a subdirectory cannot be read; copy the file again") from error
    if len(own) < len(page.subifds):
        raise ItemError("corrupt", f"{len(own)} of {len(page.subifds)} subdirectories can be read")
    return [p for child in own for p in (child, *_subdirectories(child, level + 1))]


def _without_reductions(images: list[Any]) -> list[Any]:
    """The first page alone where all others are its half, quarter, ... or its thirds: an unmarked pyramid."""
    if len(images) < 2:
        return images
    if len({(p.samplesperpixel, p.bitspersample, p.photometric) for p in images}) > 1:
        return images
    width, length = images[0].imagewidth, images[0].imagelength
    for factor in (2, 3, 4):
        levels = [(page, factor**step) for step, page in enumerate(images) if step]
        if all(_is_part(width, p.imagewidth, by) and _is_part(length, p.imagelength, by) for p, by in levels):
            return images[:1]
    return images


def _is_part(whole: int, part: int, by: int) -> bool:
    return whole // by <= part <= -(-whole // by) and part < whole


def _with_masks(images: list[Any], pages: list[Any]) -> list[Chosen]:
    """Each image with the mask that follows it (as GDAL writes them)."""
    chosen = {id(image): index for index, image in enumerate(images)}
    masks: dict[int, Any] = {}
    current = 0
    for page in pages:
        current = chosen.get(id(page), current)
        if _is_mask(page):
            if current in masks:
                raise ItemError("unsupported", "several masks of one image; keep the one that is meant")
            masks[current] = page
    return [Chosen(image, masks.get(index)) for index, image in enumerate(images)]


def _planes_behind(tif: tifffile.TiffFile) -> int:
    """How many planes stand behind the only directory of an ImageJ, MetaMorph or tifffile file, if more than one."""
    first = tif.pages.first
    counts = [1]
    if tif.is_imagej:
        counts.append(int((tif.imagej_metadata or {}).get("images", 1)))
    if tif.is_stk:
        with np.errstate(all="ignore"):  # distances that were never measured are 0/0
            counts.append(int((tif.stk_metadata or {}).get("NumberPlanes", 1)))
    for shaped in tif.shaped_metadata or ():
        if shaped.get("truncated"):
            counts.append(prod(shaped["shape"]) // max(1, prod(first.shape)))
    planes = max(counts)
    if planes <= len(tif.pages):
        return 0
    readable = first.is_contiguous and first.samplesperpixel in (1, 3) and first.photometric in (1, 2)
    if len(tif.pages) > 1 or not readable:
        raise ItemError(
            "unsupported",
            f"{planes} planes stand behind {len(tif.pages)} page headers; save it as an ordinary multi-page TIFF",
        )
    return planes


def _refuse_missing_planes(tif: tifffile.TiffFile) -> None:
    """Metadata that promise more planes than the pages hold: some are lost, or stand where no page shows them."""
    if not any(getattr(tif, f"is_{kind}") for kind in _DESCRIBED):
        return
    if tif.is_ome and 'FileName="' in (tif.ome_metadata or ""):
        return  # one of several files, each of which is read for itself
    with tifffile.TiffFile(tif.filehandle.path, _multifile=False) as again:  # series turn pages into frames
        held = sum(prod(page.shape) for page in again.pages)
        try:
            promised = sum(prod(series.shape) for series in again.series)
        except Exception:  # metadata that tifffile cannot follow describe nothing
            return
    if promised > held:
        raise ItemError(
            "unsupported",
            f"its metadata promise {promised} values, its pages hold {held}: planes are missing, or no page shows "
            "them; save it as an ordinary multi-page TIFF",
        )
