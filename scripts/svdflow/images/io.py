"""Read image files safely into records of native arrays, and write pictures at their bit depth.

Nothing is decoded before its declared size is checked, nothing cut or broken is returned as if whole, and
16-bit colour stays 16-bit. Every refusal is an `ItemError` with a code:

``empty_file`` ``unreadable`` ``not_an_image`` ``unsupported`` ``zero_size`` ``decompression_bomb``
``too_large`` ``truncated`` ``corrupt`` ``non_finite`` ``all_masked``
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from svdflow.errors import ItemError
from svdflow.images.colour import to_dtype
from svdflow.images.formats.containers import PIXEL_LIMIT, ImageFile, Page
from svdflow.images.item_range import value_range
from svdflow.matrix.integers import may_be_lossy, refuse_lossy
from svdflow.registry import IMAGE_FORMATS, ImageFormat
from svdflow.store.shards import slug_of

_GDAL_NODATA = 42113  # TIFF tag of the nodata value (GDAL, GeoTIFF driver)


@dataclass(frozen=True)
class ImageRecord:
    """A decoded image file.

    Attributes
    ----------
    pages : list of Page
        At least one; all of one dtype. `array` is (H, W) or (H, W, 3), upright, native byte order; `alpha`
        and `mask` (True where valid; values are 0 elsewhere) are (H, W) or None.
    attrs : dict
        format, mode (as the file has it), dtype, bits (8, 16, 32 or 64, stored), exif_orientation (already
        applied; 1 is upright), icc_profile (bytes, may be empty), pages (count), has_alpha, significant_bits (that
        the file states), and of its valid pixels data_min, data_max, data_range and data_range_source as `value_range`
        gives them.
    """

    pages: list[Page]
    attrs: dict[str, Any]


def read_image(
    path: str | Path,
    *,
    page: int | None = None,
    pixel_limit: int = PIXEL_LIMIT,
    channels: bool = False,
) -> ImageRecord:
    """Read an image file: PNG, JPEG, TIFF and the other formats of `svdflow.registry.IMAGE_FORMATS`.

    Parameters
    ----------
    path : path
        The format is told by content. HDF5: ``file.h5:dataset``, or ``file.h5`` where it holds one array.
    page : int, optional
        Keep this page of a multi-page TIFF or animation only; pages count from 0.
    pixel_limit : int
        Above so many pixels over all pages, a file that unpacks to more than 50 times its size is refused;
        checked against the header, before decoding.
    channels : bool
        Every band as it is stored, alpha among them: `array` is (H, W, C) of any C where there are several.

    Returns
    -------
    record : ImageRecord
        Palettes are expanded (their transparency becomes alpha), inks converted to RGB, one-bit images are
        0 and 255, and the orientation tag is applied. Frames of an animation are pages. Missing pixels (NaN,
        GDAL_NODATA, mask pages, ``_FillValue``, what a sparse file leaves out) are False in the mask, and 0.

    Raises
    ------
    ItemError
        With one of the codes above; the message names the file and says what to do.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_image(f"{folder}/ramp.png", np.arange(6, dtype=np.uint16).reshape(2, 3))
    ...     record = read_image(path)
    >>> record.pages[0].array
    array([[0, 1, 2],
           [3, 4, 5]], dtype=uint16)
    >>> record.attrs["format"], record.attrs["bits"], record.attrs["data_range"]
    ('PNG', 16, 255.0)
    """
    file, dataset = split_dataset(path)
    with _named_refusals(file.name):
        pages, attrs = _format_of(file, dataset).code()(ImageFile(file, dataset, pixel_limit, channels))
        return _record([_banded(p) for p in pages] if channels else pages, attrs, page)


def split_dataset(path: str | Path) -> tuple[Path, str | None]:
    """``scans.h5:/run/7`` as (file, dataset); the name of an existing file is left whole."""
    whole = Path(path)
    left, colon, right = str(path).rpartition(":")
    if colon and not whole.exists() and Path(left).is_file():
        return Path(left), right
    return whole, None


def _banded(page: Page) -> Page:
    return (
        page if page.alpha is None else page._replace(array=np.dstack([page.array, page.alpha]), alpha=None)
    )


def _format_of(file: Path, dataset: str | None) -> ImageFormat:
    """The format whose signature a file bears."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ItemError("unreadable", "not a regular file")
        found = next((known for known in IMAGE_FORMATS.values() if known.recognizes(file)), None)
    except OSError as error:
        raise ItemError("unreadable", f"{error.strerror}; check its name and permissions") from error
    if not status.st_size:
        raise ItemError("empty_file", "the file is empty (0 bytes)")
    if found is None:
        *titles, last = (known.title for known in IMAGE_FORMATS.values())
        raise ItemError("not_an_image", f"its content is not that of a {', '.join(titles)} or {last} file")
    if dataset is not None and not found.datasets:
        holders = " and ".join(known.title for known in IMAGE_FORMATS.values() if known.datasets)
        raise ItemError(
            "unsupported", f"a {found.title} file has no dataset {dataset!r}; only {holders} files do"
        )
    return found


@contextmanager
def _named_refusals(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ItemError` that begins with the name of the file."""
    try:
        yield
    except Exception as error:
        code, message = _refusal(error)
        raise ItemError(code, f"{name}: {message}") from error


def _refusal(error: Exception) -> tuple[str, str]:
    message = str(error) or type(error).__name__
    if isinstance(error, ItemError | ValueError) and isinstance(code := getattr(error, "code", None), str):
        return code, message
    if isinstance(error, MemoryError):
        return "too_large", "does not fit in memory; cut it into tiles, or read it as a matrix"
    if isinstance(error, NotImplementedError):
        return "unsupported", message
    if any(words in message.lower() for words in ("truncated", "not enough image data")):
        return "truncated", f"{message}; copy the file again from its source"
    return "corrupt", f"cannot be decoded ({type(error).__name__}: {message}); copy it again from its source"


# Pages into a record


def oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn rows and columns upright as the EXIF orientation 1..8 asks (EXIF 2.32, tag 0x0112)."""
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _record(pages: list[Page], attrs: dict[str, Any], page: int | None) -> ImageRecord:
    if page is not None and not 0 <= page < len(pages):
        raise ItemError("unreadable", f"no page {page}: the file has {len(pages)}, counted from 0")
    chosen = pages if page is None else [pages[page]]
    turn = attrs["exif_orientation"]
    upright = _alike([_masked(_upright(p, turn), number) for number, p in enumerate(chosen)])
    valid = (p.array if p.mask is None else p.array[p.mask] for p in upright)
    arrays = [values for values in valid if values.size]
    if not arrays:
        raise ItemError("all_masked", "every pixel is missing (NaN, nodata or masked): nothing to process")
    for values in arrays if may_be_lossy(arrays[0].dtype) else ():
        refuse_lossy(values, "pixels")
    significant = attrs.get("significant_bits")
    low, high, peak, source = value_range(arrays, significant)
    dtype = arrays[0].dtype
    return ImageRecord(
        upright,
        {
            **attrs,
            "significant_bits": significant or 8 * dtype.itemsize,
            "dtype": str(dtype),
            "bits": 8 * dtype.itemsize,
            "pages": len(upright),
            "has_alpha": any(p.alpha is not None for p in upright),
            "data_min": low,
            "data_max": high,
            "data_range": peak,
            "data_range_source": source,
        },
    )


def _upright(page: Page, turn: int) -> Page:
    mask = None if page.mask is None else np.ascontiguousarray(oriented(page.mask, turn))
    return Page(_plain(page.array, turn), None if page.alpha is None else _plain(page.alpha, turn), mask)


def _plain(array: np.ndarray, orientation: int) -> np.ndarray:
    """Upright, contiguous, native byte order; booleans become 0 and 255."""
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    return np.ascontiguousarray(oriented(array, orientation), dtype=array.dtype.newbyteorder("="))


def _masked(page: Page, number: int) -> Page:
    """The page with NaN taken into its mask and missing values set to 0; infinity is refused."""
    array, mask = page.array, page.mask
    if array.dtype.kind == "f":
        absent = np.isnan(array)
        if absent.any():
            present = ~(absent.any(axis=-1) if array.ndim == 3 else absent)
            mask = present if mask is None else mask & present
    if mask is not None:
        array = array.copy()
        array[~mask] = 0
    for part, values in (("pixels", array), ("alpha", page.alpha)):
        if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = ~np.isfinite(values)
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ItemError(
                "non_finite",
                f"{int(bad.sum())} of {bad.size} values of the {part} on page {number} are infinite or no numbers, "
                f"the first at index {first}; a missing value is NaN, or is declared as nodata",
            )
    return Page(array, page.alpha, mask)


def _alike(pages: list[Page]) -> list[Page]:
    """One dtype over all pages, and colour on all where any has it: animations mix the two."""
    dtypes = {str(p.array.dtype) for p in pages}
    if len(dtypes) > 1:
        raise ItemError("unsupported", f"pages of types {', '.join(sorted(dtypes))}; save them apart")
    if len({p.array.ndim for p in pages}) == 1:
        return pages
    return [p if p.array.ndim == 3 else p._replace(array=np.dstack([p.array] * 3)) for p in pages]


# Writing


def picture_name(index: int, name: str, suffix: str) -> str:
    """File name of a picture: item index, safe slug of the source's stem, and `suffix` as it is given."""
    return f"{index:06d}_{slug_of(name)}{suffix}"


def picture_suffix(dtype: np.typing.DTypeLike) -> str:
    """``.png`` for 8- and 16-bit unsigned images, ``.tif`` for all others."""
    return ".png" if np.dtype(dtype) in (np.uint8, np.uint16) else ".tif"


def write_image(
    path: str | Path,
    array: np.ndarray,
    *,
    dtype: np.typing.DTypeLike | None = None,
    alpha: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    icc_profile: bytes = b"",
) -> Path:
    """Write a picture: PNG for uint8 and uint16, TIFF for everything else.

    Parameters
    ----------
    path : path
        Ends in ``.png`` or ``.tif``; see `picture_suffix`. Not published atomically: write into a folder
        that is published as a whole.
    array : ndarray, shape (H, W) or (H, W, 3)
    dtype : dtype, optional
        Of the picture; default that of `array`. Values are rounded, halves upwards, and clipped to it.
    alpha : ndarray, shape (H, W), optional
        Restored as the last channel; values as they are, so of the picture's dtype.
    mask : ndarray of bool, shape (H, W), optional
        True where a pixel is valid. The others are written as NaN, which the tag GDAL_NODATA names, in pictures of
        floats, and as 0 and transparent in pictures of integers.
    icc_profile : bytes
        Embedded where it describes as many channels as the picture has.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        A suffix that cannot hold the dtype, non-finite values for an integer dtype, or mismatched shapes.
    """
    path, dtype = Path(path), np.dtype(dtype if dtype is not None else array.dtype)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ValueError(f"{path.name}: a picture has shape (H, W) or (H, W, 3), not {array.shape}")
    if dtype.kind != "f" and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{path.name}: NaN or infinite values cannot be written as {dtype}")
    if alpha is not None and (alpha.shape != array.shape[:2] or alpha.dtype != dtype):
        raise ValueError(
            f"{path.name}: alpha is {alpha.shape} {alpha.dtype}, the picture {array.shape[:2]} {dtype}"
        )
    pixels = to_dtype(array, dtype)
    missing = []
    if mask is not None:
        if dtype.kind == "f":
            missing = [(_GDAL_NODATA, 2, 0, "nan", True)]
        else:
            whole = alpha if alpha is not None else np.full(mask.shape, np.iinfo(dtype).max, dtype)
            alpha = np.where(mask, whole, dtype.type(0))
        over = mask if pixels.ndim == 2 else mask[..., None]
        pixels = np.where(over, pixels, np.array(np.nan if dtype.kind == "f" else 0, dtype))
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    profile = icc_profile if _describes(icc_profile, array) else b""
    match path.suffix:
        case ".png" if picture_suffix(dtype) == ".png":
            path.write_bytes(
                _with_profile(bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels))), profile)
            )
        case ".tif" | ".tiff":
            tifffile.imwrite(
                path,
                np.ascontiguousarray(pixels),
                photometric="rgb" if array.ndim == 3 else "minisblack",
                planarconfig="contig" if pixels.ndim == 3 else None,
                extrasamples=["unassalpha"] if alpha is not None else None,
                compression="zlib",
                iccprofile=profile or None,
                metadata=None,
                software=False,
                extratags=missing,
            )
        case _:
            raise ValueError(f"{path.name}: {dtype} pixels need the suffix {picture_suffix(dtype)}")
    return path


def _describes(profile: bytes, array: np.ndarray) -> bool:
    """Whether the colour space of an ICC profile (ICC.1, header bytes 16 to 19) fits the picture."""
    return profile[16:20] == (b"RGB " if array.ndim == 3 else b"GRAY")


def _with_profile(png: bytes, profile: bytes) -> bytes:
    """Insert the chunk iCCP behind IHDR, which ends at byte 33 (PNG specification, 11.3.2.3)."""
    if not profile:
        return png
    body = b"iCCP" + b"icc\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]
