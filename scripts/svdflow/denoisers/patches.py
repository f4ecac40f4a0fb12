"""Groups of similar patches: where they lie, how they are found, and how their estimates come back together.

All work goes by bands of key patches, rows of the image whose groups are matched, filtered and summed together.
A band reads and writes its own pixels and the search radius around them, so its memory and time for a pixel are the
same in images of any size, and bands are added in order, so no result depends on the number of threads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csc_array

# Rows and columns of key patches of a band: the tables of 512 pixels (4 MB) stay in the cache, those of 1,024 nearly.
# Columns are a multiple of `KEYS_AT_ONCE`. Sums of wider images are rounded otherwise when it changes.
KEY_ROWS, KEY_COLUMNS = 4, 256
KEYS_AT_ONCE = 8  # keys whose windows share one product: wide enough for BLAS, few candidates in vain


class Band(NamedTuple):
    """Consecutive rows and columns of key patches, and the rows and columns of patches within their search windows."""

    number: int
    keys: tuple[slice, slice]
    first: int
    stop: int
    left: int
    right: int

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.stop - self.first, self.right - self.left


@dataclass(frozen=True)
class Patches:
    """The patches of an image, by their upper left corners.

    Attributes
    ----------
    shape : (H, W)
    side : int
        Of a patch, in pixels; at most min(H, W).
    stride : int
        Between key patches, each of which gathers a group. The last row and column are keys too.
    search : int
        Candidates of a key lie within this many pixels, up and down and sideways; at the border of the image the
        window moves inwards, so that it is never smaller.
    """

    shape: tuple[int, int]
    side: int
    stride: int
    search: int

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.shape[0] - self.side + 1, self.shape[1] - self.side + 1

    @property
    def candidates(self) -> int:
        """Patches in a search window."""
        width = 2 * self.search + 1
        return min(width, self.places[0]) * min(width, self.places[1])

    @cached_property
    def keys(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column coordinates of the key patches."""
        rows, columns = (np.unique([*range(0, count, self.stride), count - 1]) for count in self.places)
        return rows, columns

    def bands(self) -> Iterator[Band]:
        """All bands, row by row from the top."""
        starts = (
            range(0, len(keys), step) for keys, step in zip(self.keys, (KEY_ROWS, KEY_COLUMNS), strict=True)
        )
        for number, (row, column) in enumerate(product(*starts)):
            keys = slice(row, row + KEY_ROWS), slice(column, column + KEY_COLUMNS)
            first, height = self._window(0, self.keys[0][keys[0]])
            left, width = self._window(1, self.keys[1][keys[1]])
            yield Band(
                number, keys, int(first[0]), int(first[-1]) + height, int(left[0]), int(left[-1]) + width
            )

    def table(self, plane: np.ndarray, band: Band) -> np.ndarray:
        """The patches of a band, one a row: (rows x columns of patches, side^2)."""
        side = self.side
        part = plane[band.first : band.stop + side - 1, band.left : band.right + side - 1]
        view = sliding_window_view(part, (side, side))
        return view.reshape(-1, side * side)

    def match(self, table: np.ndarray, band: Band, size: int, apart: np.ndarray | None = None) -> np.ndarray:
        """The `size` nearest patches of each key of a band, itself always among them, in no particular order.

        Parameters
        ----------
        table : array (rows x columns of patches, side^2)
            Of the guide plane; values near zero keep float32 distances exact enough.
        apart : float array (rows, columns of patches of the image), optional
            What is added to the squared distance to a patch.

        Returns
        -------
        index : int32 array (keys, size)
            Rows of the table of the band.

        Notes
        -----
        |a - b|^2 = |a|^2 - 2 a.b + |b|^2, of which a key a only needs the last two terms: one product of a few keys
        with the patches around them.
        """
        columns = band.places[1]
        area = table.reshape(-1, columns, table.shape[1])
        norms = np.einsum("ijk,ijk->ij", area, area)
        if apart is not None:
            norms += apart[band.first : band.stop, band.left : band.right]
        key_rows, key_columns = self.keys[0][band.keys[0]], self.keys[1][band.keys[1]]
        tops, height = self._window(0, key_rows)
        lefts, width = self._window(1, key_columns)
        found = []
        for row, top in zip(key_rows - band.first, tops - band.first, strict=True):
            window = slice(top, top + height)
            for start in range(0, len(lefts), KEYS_AT_ONCE):
                left = lefts[start : start + KEYS_AT_ONCE] - band.left
                across = slice(left[0], left[-1] + width)
                own_columns = key_columns[start : start + KEYS_AT_ONCE] - band.left
                keys = area[row, own_columns]
                distance = norms[window, across, None] - 2 * (area[window, across] @ keys.T)
                place = np.arange(len(left))
                # Many patches may equal the key, or come nearer by rounding: it stays in its group all the same.
                distance[row - top, own_columns - left[0], place] = -np.inf
                own = sliding_window_view(distance, width, axis=1)[:, left - left[0], place]
                nearest = _smallest(own.swapaxes(0, 1).reshape(len(left), -1), size)
                found.append((top + nearest // width) * columns + left[:, None] + nearest % width)
        return np.concatenate(found).astype(np.int32)

    def at_keys(self, plane: np.ndarray) -> np.ndarray:
        """Mean of a plane over each key patch: (rows of keys, columns of keys)."""
        means = _box(plane, self.side, valid=True) / self.side**2
        return means[np.ix_(*self.keys)]

    def shares(self, valid: np.ndarray) -> np.ndarray:
        """Part of the pixels of each patch that is valid: (rows, columns of patches)."""
        return _box(valid.astype(np.float64), self.side, valid=True) / self.side**2

    def sum(self, estimates: np.ndarray, index: np.ndarray, weights: np.ndarray, band: Band) -> np.ndarray:
        """Weighted sum of patches where they lie: the image from ``band.first`` and ``band.left`` on, (rows, columns).

        Parameters
        ----------
        estimates : array (patches, side^2)
        index, weights : arrays (patches,)
            Row in the table of the band, and weight, of each.
        """
        rows, columns = band.places
        pointers = np.arange(len(index) + 1)
        places = csc_array((weights, index, pointers), shape=(rows * columns, len(index)))
        side = self.side
        found = (places @ estimates).reshape(rows, columns, side * side)
        summed = np.empty((side * side, rows, columns), found.dtype)
        for row in range(rows):  # turned row by row, which stay in the cache: a third of the time
            summed[:, row] = found[row].T
        summed = summed.reshape(side, side, rows, columns)
        image = np.zeros((rows + side - 1, columns + side - 1), np.float32)
        for i in range(side):
            for j in range(side):
                image[i : i + rows, j : j + columns] += summed[i, j]
        return image

    def spread(self, index: np.ndarray, weights: np.ndarray, band: Band) -> np.ndarray:
        """What `sum` returns for patches of ones, float64."""
        rows, columns = band.places
        counts = np.bincount(index, weights, rows * columns).reshape(rows, columns)
        return _box(counts, self.side, valid=False)

    def _window(self, axis: int, keys: np.ndarray) -> tuple[np.ndarray, int]:
        """First patches of the search windows of keys along an axis, and their length."""
        length = min(2 * self.search + 1, self.places[axis])
        return np.clip(keys - self.search, 0, self.places[axis] - length), length


def _smallest(values: np.ndarray, size: int) -> np.ndarray:
    """Columns of the `size` smallest values of each row."""
    if size == values.shape[1]:
        return np.broadcast_to(np.arange(size), values.shape)
    return np.argpartition(values, size - 1, axis=1)[:, :size]


def _box(plane: np.ndarray, side: int, *, valid: bool) -> np.ndarray:
    """Sums over side x side squares: those inside the plane, or all that touch it."""
    if not valid:
        plane = np.pad(plane, side - 1)
    for axis in (0, 1):
        plane = sliding_window_view(plane, side, axis=axis).sum(-1)
    return plane
