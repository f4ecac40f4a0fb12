"""Pictures for people: reconstructions at their bit depth, and an original beside its ranks.

A panel is made from thumbnails. Averaging pixels commutes with a linear reconstruction, so the rows of U and
the columns of Vt are averaged and a thumbnail costs next to nothing, whatever the size of the image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from svdflow.images.batch import column_means
from svdflow.images.colour import for_display, from_planes, page_of, page_planes
from svdflow.images.io import picture_name, picture_suffix, write_image
from svdflow.store import Factors, Item, read_array

# The look of panels, in pixels; chosen. They move pictures for the screen and no figure.
TILE = 384  # longest side of a picture in a panel; larger ones are shown at every second, third, ... pixel
COLUMNS = 4  # pictures side by side: a panel is then as wide as a screen of 1,600 pixels
GAP = 8  # between pictures, and around them
CAPTION = 22  # height of the line under a picture
# Quantiles of the original that are shown black and white where samples have more than 8 bits: one hot pixel in a
# thousand does not darken the rest.
QUANTILES = (0.001, 0.999)
NEUTRAL = 128  # missing pixels: the middle grey of 8 bits

Planes = dict[str, np.ndarray]


def write_ranks(folder: Path, item: Item, factors: Mapping[str, Factors], ranks: Sequence[int]) -> None:
    """Write ``{index}_{slug}/rank{k}.png`` (or ``.tif``) for every rank, at the source's bit depth."""
    place = folder / picture_name(item.index, item.name, "")
    place.mkdir()
    for rank, planes in zip(ranks, _reconstructions(factors, ranks), strict=True):
        write_pictures(place, f"rank{rank}", item, planes)


def write_panel(folder: Path, item: Item, factors: Mapping[str, Factors], ranks: Sequence[int]) -> Path:
    """Write ``{index}_{slug}.png``: the original beside its reconstructions, first page, 8 bits, opaque.

    8-bit pictures are shown as they are; others are stretched between two quantiles of the original, which a line below
    the pictures names. Missing pixels are grey.
    """
    page = min(page_of(name) for name in factors)
    first = {name.partition("_p")[0]: stored for name, stored in factors.items() if page_of(name) == page}
    planes = item.observations[0].planes
    original = {name: read_array(planes[stored.plane]) for name, stored in first.items()}
    step = max(1, ceil(max(next(iter(original.values())).shape) / TILE))
    mask = item.mask_of(next(iter(first.values())).plane)
    shown = None if mask is None else _pooled(_pooled(mask, step).T, step).T >= 0.5
    thumbnails = [("original", {k: _pooled(_pooled(p, step).T, step).T for k, p in original.items()})]
    for rank, thumbnail in zip(
        ranks, _reconstructions(first, ranks, lambda a: _pooled(a, step)), strict=True
    ):
        thumbnails.append((f"rank {rank}", dict(thumbnail)))
    dtype = np.dtype(item.attrs["dtype"])
    pixels = [for_display(thumbnail, item.attrs["colour"], dtype) for _, thumbnail in thumbnails]
    limits = display_limits(pixels[0], shown, dtype)
    tiles = [
        (caption, eight_bits(picture, limits, shown))
        for (caption, _), picture in zip(thumbnails, pixels, strict=True)
    ]
    legend = [] if dtype == np.uint8 else [f"black {limits[0]:.4g}, white {limits[1]:.4g} (quantiles)"]
    legend += [] if mask is None else ["grey: missing"]
    return write_image(folder / picture_name(item.index, item.name, ".png"), panel(tiles, "; ".join(legend)))


def display_limits(
    pixels: np.ndarray, mask: np.ndarray | None = None, dtype: np.typing.DTypeLike | None = None
) -> tuple[float, float]:
    """Values shown black and white: 0 and 255 of 8 bits, else `QUANTILES` of the valid pixels; for display only.

    Parameters
    ----------
    pixels : array (h, w) or (h, w, 3), or several masks wide where bands stand side by side
    mask : bool array (h, w), optional
        True where a pixel is valid.
    dtype : dtype, optional
        Of the source, where that of `pixels` is another.
    """
    if np.dtype(dtype or pixels.dtype) == np.uint8:
        return 0.0, 255.0
    known = pixels if mask is None else pixels[_wide(mask, pixels)]
    low, high = np.quantile(known.astype(np.float64), QUANTILES) if known.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + (abs(low) or 1.0))


def eight_bits(pixels: np.ndarray, limits: tuple[float, float], mask: np.ndarray | None = None) -> np.ndarray:
    """A picture for the screen, uint8, black and white at `limits`, `NEUTRAL` where a pixel is missing."""
    low, high = limits
    shown = np.clip(np.round((pixels.astype(np.float64) - low) * (255 / (high - low))), 0, 255)
    if mask is not None:
        shown[~_wide(mask, pixels)] = NEUTRAL
    return shown.astype(np.uint8)


def _wide(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The mask of a picture whose bands may stand side by side."""
    return np.tile(mask, (1, pixels.shape[1] // mask.shape[1]))


def write_pictures(folder: Path, stem: str, item: Item, planes: Mapping[str, np.ndarray]) -> list[Path]:
    """Write the planes of an item as pictures: one, or ``{stem}_p000``, ... where the item has pages.

    Bands that are no colours are a picture each, ``{stem}_c00``, ...

    Parameters
    ----------
    planes : dict of name to array (m, n), float
        All planes of the item. Rounded and clipped to the dtype of the source; missing pixels are written as missing
        (`write_image`), whatever a method made of them.

    Returns
    -------
    paths : list of Path
        ``.png`` for 8 and 16 bits, ``.tif`` otherwise.
    """
    dtype = np.dtype(item.attrs["dtype"])
    alpha = None if item.alpha is None else read_array(item.alpha)
    profile = item.group.get("icc_profile")
    icc = b"" if profile is None else read_array(profile).tobytes()
    pages = page_planes(planes)
    written = []
    for number, page in enumerate(pages):
        place = f"_p{number:03d}" if len(pages) > 1 else ""
        layer = alpha[number] if alpha is not None and alpha.ndim == 3 else alpha
        mask = item.mask_of(f"grey_p{number}")
        for band, planes in _bands(page, item.attrs["colour"]).items():
            pixels = from_planes(planes, item.attrs["colour"], dtype)
            path = folder / (stem + place + band + picture_suffix(dtype))
            written.append(write_image(path, pixels, dtype=dtype, alpha=layer, mask=mask, icc_profile=icc))
    return written


def _bands(page: Planes, colour: str) -> dict[str, Planes]:
    """Suffix -> planes of each picture of a page: one, or one a band where bands are no colours."""
    if colour != "channels" or "grey" in page:
        return {"": page}
    return {f"_{name}": {"grey": plane} for name, plane in page.items()}


def panel(tiles: Sequence[tuple[str, np.ndarray]], legend: str = "") -> np.ndarray:
    """Captioned pictures in rows of four on white.

    Parameters
    ----------
    tiles : list of (caption, uint8 array (h, w) or (h, w, 3))
        All of one size.
    legend : str
        A line below all of them.

    Returns
    -------
    canvas : uint8 array (H, W) or (H, W, 3)
    """
    height, width = tiles[0][1].shape[:2]
    cell_width = max(width, 80)
    columns = min(COLUMNS, len(tiles))
    rows = ceil(len(tiles) / columns)
    colour = tiles[0][1].ndim == 3
    size = (
        GAP + columns * (cell_width + GAP),
        GAP + rows * (height + CAPTION + GAP) + CAPTION * bool(legend),
    )
    font = ImageFont.load_default(13)
    size = (max(size[0], 2 * GAP + ceil(font.getlength(legend))), size[1])
    canvas = Image.new("RGB" if colour else "L", size, "white")
    draw = ImageDraw.Draw(canvas)
    for place, (caption, pixels) in enumerate(tiles):
        row, column = divmod(place, columns)
        x, y = GAP + column * (cell_width + GAP), GAP + row * (height + CAPTION + GAP)
        canvas.paste(Image.fromarray(pixels), (x, y))
        draw.text((x, y + height + 3), caption, fill="black", font=font)
    draw.text((GAP, size[1] - CAPTION), legend, fill="black", font=font)
    return np.asarray(canvas)


def _reconstructions(
    factors: Mapping[str, Factors],
    ranks: Sequence[int],
    reduce: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Iterator[Planes]:
    """The planes at each of the ascending ranks, adding components as it goes."""
    loaded, planes = {}, {}
    for name, stored in factors.items():
        U, s, Vt = read_array(stored.U), read_array(stored.s), read_array(stored.Vt)
        left, right, mean = reduce(U) * s, reduce(Vt.T).T, reduce(column_means(stored)[:, None]).T
        loaded[name] = left, right
        planes[name] = np.repeat(mean, len(left), axis=0)
    low = 0
    for rank in ranks:
        for name, (left, right) in loaded.items():
            planes[name] = planes[name] + left[:, low:rank] @ right[low:rank]
        yield planes
        low = rank


def _pooled(array: np.ndarray, step: int) -> np.ndarray:
    """Means of `step` consecutive rows; the last mean may be of fewer."""
    starts = np.arange(0, len(array), step)
    counts = np.diff([*starts, len(array)])
    return np.add.reduceat(array, starts, axis=0, dtype=np.float64) / counts[:, None]
