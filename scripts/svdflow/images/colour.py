"""Colour: an image and its planes, 2-D channels that keep the image's own dtype.

``gray`` is BT.601 luma, rounded to the stored integer type; ``ycbcr`` is the full-range BT.601 form of
JPEG (ITU T.871); ``channels`` takes every band as it is stored. A grey image has the one plane ``grey`` whatever
colour is asked for.
"""

from collections.abc import Iterable, Mapping

import numpy as np

COLOURS = ("gray", "rgb", "ycbcr", "channels")
AT_ONCE = 2**22  # values that are rounded at once, 32 MB in double precision; moves no result
SHOWN_BANDS = 3  # bands that a picture for the screen can show: its red, green and blue

_LUMA_1000 = (299, 587, 114)  # ITU-R BT.601, 2.5.1, in thousandths: exact in integers
_LUMA = (0.299, 0.587, 0.114)  # the same, as ITU T.871, section 7, has them


def to_planes(array: np.ndarray, colour: str) -> dict[str, np.ndarray]:
    """Split an image into planes.

    Parameters
    ----------
    array : ndarray, shape (H, W) or (H, W, 3); (H, W, C) for ``channels``
        Integers or floats, without alpha.
    colour : {"gray", "rgb", "ycbcr", "channels"}

    Returns
    -------
    planes : dict of name to ndarray, shape (H, W), dtype of `array`
        ``grey``; ``r, g, b``; ``y, cb, cr``; or ``c00, c01, ...``. Integers are rounded, halves upwards, and
        clipped to the dtype. Chroma is centred on half the range for unsigned integers and on zero for all
        other types.

    Raises
    ------
    ValueError
        Unknown colour, or an array of another shape.

    Notes
    -----
    y = 0.299 r + 0.587 g + 0.114 b, cb = (b - y) / 1.772 + centre, cr = (r - y) / 1.402 + centre
    (ITU T.871, section 7). ``gray`` is the exact weighted mean, rounded. Pillow's ``convert("L")`` rounds the
    weights to 1/65536 first, and differs by one level on 0.05 % of random colours.
    """
    if colour not in COLOURS:
        raise ValueError(f"unknown colour {colour!r}; one of {', '.join(COLOURS)}")
    if array.ndim == 2:
        return {"grey": array}
    if colour == "channels" and array.ndim == 3:
        digits = max(2, len(str(array.shape[2] - 1)))  # so that names sort as the bands do
        return {f"c{band:0{digits}d}": array[..., band] for band in range(array.shape[2])}
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"an image has shape (H, W) or (H, W, 3), not {array.shape}")
    r, g, b = (array[..., i] for i in range(3))
    if colour == "rgb":
        return {"r": r, "g": g, "b": b}
    if colour == "gray":
        return {"grey": luma(array)}
    wide, centre = array.astype(np.float64), _chroma_centre(array.dtype)
    y = wide @ np.array(_LUMA)
    return {
        "y": luma(array),
        "cb": to_dtype((wide[..., 2] - y) / 1.772 + centre, array.dtype),
        "cr": to_dtype((wide[..., 0] - y) / 1.402 + centre, array.dtype),
    }


def from_planes(
    planes: Mapping[str, np.ndarray], colour: str, dtype: np.typing.DTypeLike | None = None
) -> np.ndarray:
    """Put planes, possibly approximated ones, back into an image.

    Parameters
    ----------
    planes : mapping of name to ndarray, shape (H, W)
        As `to_planes` names them; any real dtype.
    colour : {"gray", "rgb", "ycbcr", "channels"}
        The colour that the planes were made with; a lone ``grey`` is recognized by its name.
    dtype : dtype, optional
        Of the image; decides rounding, clipping and the centre of chroma. Default: that of the planes.

    Returns
    -------
    array : ndarray, shape (H, W) or (H, W, 3); (H, W, C) for ``channels``

    Raises
    ------
    KeyError
        A plane is missing.
    """
    dtype = np.dtype(dtype) if dtype is not None else next(iter(planes.values())).dtype
    if "grey" in planes:
        return to_dtype(planes["grey"], dtype)
    if colour == "channels":
        return to_dtype(np.stack(list(planes.values()), axis=-1), dtype)
    if colour == "rgb":
        return to_dtype(np.stack([planes[name] for name in "rgb"], axis=-1), dtype)
    centre = _chroma_centre(dtype)
    y, cb, cr = (planes[name].astype(np.float64) for name in ("y", "cb", "cr"))
    b, r = y + 1.772 * (cb - centre), y + 1.402 * (cr - centre)
    g = (y - _LUMA[0] * r - _LUMA[2] * b) / _LUMA[1]
    return to_dtype(np.stack([r, g, b], axis=-1), dtype)


def for_display(planes: Mapping[str, np.ndarray], colour: str, dtype: np.typing.DTypeLike) -> np.ndarray:
    """As `from_planes`, but bands that are no colours side by side, up to `SHOWN_BANDS`: (H, W) or (H, W, 3)."""
    if colour == "channels" and "grey" not in planes:
        return to_dtype(np.hstack(list(planes.values())[:SHOWN_BANDS]), dtype)
    return from_planes(planes, colour, dtype)


def luma(array: np.ndarray) -> np.ndarray:
    """BT.601 luma of an (H, W, 3) image in its own dtype; integers are rounded, floats are not."""
    if array.dtype.kind == "f" or array.dtype.itemsize > 4:
        return to_dtype(array.astype(np.float64) @ np.array(_LUMA), array.dtype)
    r, g, b = (w * array[..., i].astype(np.int64) for i, w in enumerate(_LUMA_1000))
    return ((r + g + b + 500) // 1000).astype(array.dtype)


def cmyk_to_rgb(array: np.ndarray) -> np.ndarray:
    """Ink fractions (H, W, 4), unsigned, to light (H, W, 3): r = (1 - c)(1 - k), rounded.

    The plain formula, without an ink profile; on 8 bits it equals Pillow's ``convert("RGB")`` to one level.
    """
    peak = np.iinfo(array.dtype).max
    light = peak - array.astype(np.float64)
    return to_dtype(light[..., :3] * light[..., 3:] / peak, array.dtype)


def to_dtype(array: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Cast; to an integer dtype round first, halves upwards, and clip to its range.

    Raises
    ------
    ValueError
        NaN, which is no integer.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f" or array.dtype == dtype:
        return array.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    if array.dtype.kind in "iu":
        own = np.iinfo(array.dtype)
        return np.clip(array, max(own.min, limits.min), min(own.max, limits.max)).astype(dtype)
    if missing := np.count_nonzero(np.isnan(array)):
        raise ValueError(f"{missing} of {array.size} values are NaN, and {dtype} has none")
    # 2**64 - 1 is no float64: the largest one below keeps the cast inside the range.
    high = limits.max if dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
    found = np.empty(array.shape, dtype)
    rows = max(1, AT_ONCE * array.shape[0] // max(1, array.size)) if array.ndim else 1
    parts = [slice(i, i + rows) for i in range(0, array.shape[0], rows)] if array.ndim else [...]
    for part in parts:  # in double precision a large picture takes 8 times its memory
        found[part] = np.clip(np.floor(array[part].astype(np.float64) + 0.5), limits.min, high)
    return found


def page_planes(planes: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Group the planes of a multi-page item, ``r_p000, g_p000, ...``, by page and strip the suffix."""
    pages: dict[str, dict[str, np.ndarray]] = {}
    for name in planes:
        plane, _, page = name.partition("_p")
        pages.setdefault(page, {})[plane] = planes[name]
    return [pages[page] for page in sorted(pages)]


def _chroma_centre(dtype: np.dtype) -> float:
    return 2.0 ** (8 * dtype.itemsize - 1) if dtype.kind == "u" else 0.0


def page_of(plane: str) -> str:
    """The number of the page that a plane is of, as its name ends; empty where there is one page."""
    return plane.partition("_p")[2]


def in_order(planes: Iterable[str]) -> list[str]:
    """Names of planes as people say them: r, g, b and y, cb, cr, where HDF5 sorts by letter."""
    said = ("r", "g", "b", "y", "cb", "cr")

    def place(plane: str) -> tuple[int, str]:
        stem = plane.partition("_p")[0]
        return said.index(stem) if stem in said else len(said), plane

    return sorted(planes, key=place)
