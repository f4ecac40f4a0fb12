"""Panels: the bands of rows that a matrix is read in.

The height of a panel is a pure function of shape, item size and stored layout. Speed and free memory have
no say in it, because sums over panels would round differently.
"""

from collections.abc import Sequence

import numpy as np

# How high a panel is. The height moves the order of sums, hence the last bits of factors; it depends on shape and type.
PANEL_BYTES = 8 * 2**20  # large enough for one sequential read, small enough for the last-level cache
LARGEST_PANEL = 64 * 2**20  # bytes beyond which a stored band is read in parts
LARGEST_HEIGHT = 2**16  # rows: sparse ones are light, but a product with a block of vectors is dense

Bands = int | Sequence[int] | None


def panel_height(shape: tuple[int, int], itemsize: float, band: int | None = None) -> int:
    """Rows of a panel: about 8 MB, and whole stored bands where the matrix is stored in bands.

    Parameters
    ----------
    shape : (m, n)
    itemsize : float
        Bytes of one entry as it is computed with; for a sparse matrix bytes per entry on average.
    band : int, optional
        Rows of a stored band (chunk).
    """
    m, n = shape
    row_bytes = max(1.0, n * itemsize)
    height = max(1, min(int(PANEL_BYTES / row_bytes), LARGEST_HEIGHT))
    if band and band < m and band * row_bytes <= LARGEST_PANEL:
        height = max(1, height // band) * band
    return min(m, height)


def panel_bounds(shape: tuple[int, int], itemsize: float, bands: Bands = None) -> list[tuple[int, int]]:
    """First and last-plus-one row of every panel.

    `bands` is the height of stored bands, or the heights of all of them where they differ (dask chunks):
    then neighbours are joined up to the panel size and none is split, as reading a part costs the whole.
    """
    if bands is None or isinstance(bands, int):
        height = panel_height(shape, itemsize, bands)
        return [(start, min(start + height, shape[0])) for start in range(0, shape[0], height)]
    bounds, start, stop = [], 0, 0
    height = panel_height(shape, itemsize)
    for band in bands:
        if stop > start and stop + band - start > height:
            bounds.append((start, stop))
            start = stop
        stop += band
    return [*bounds, (start, stop)] if stop > start else bounds


def non_finite_rows(rows: np.ndarray, start: int, *, noun: str = "row", shown: int = 8) -> str:
    """The numbers of the rows that hold NaN or infinity, in words."""
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1)) + start
    return name_rows(bad, noun=noun, shown=shown)


def name_rows(bad: np.ndarray, *, noun: str = "row", shown: int = 8) -> str:
    """``"rows 3, 17 and 40 more"``."""
    listed = ", ".join(str(int(i)) for i in bad[:shown])
    more = f" and {len(bad) - shown} more" if len(bad) > shown else ""
    return f"{noun}{'s' if len(bad) > 1 else ''} {listed}{more}"
