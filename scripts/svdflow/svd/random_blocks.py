"""Test matrices whose entries depend on the seed and their place only.

Entries come from a counter-based generator (Philox) keyed by the seed, the tile of 4096 rows and the block of 16
columns. So they do not depend on chunks, workers or width: a wider matrix has the narrower one as its first columns.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from svdflow.svd.widths import PROBE_COLUMNS

# Rows and columns that one key of the generator fills; another value gives other test matrices, and so other bits.
# Starting a generator takes about as long as drawing a thousand numbers, and a tile has 65,536.
TILE_ROWS, BLOCK_COLUMNS = 4096, 16

# Domains keep matrices that are drawn for different ends independent of each other.
BASIS, COMPLETION, PROBES, SAMPLE = 0, 1, 2, 3


def gaussian(
    seed: int,
    rows: int,
    columns: int,
    *,
    first_row: int = 0,
    first_column: int = 0,
    dtype: Any = np.float64,
    domain: int = BASIS,
) -> np.ndarray:
    """A part of the infinite standard Gaussian matrix of a seed.

    Parameters
    ----------
    seed : int
        At least 0.
    rows, columns : int
        Size of the part that begins at (`first_row`, `first_column`).
    dtype : float64 or complex128
        Complex entries have unit variance in all.
    domain : int
        Which of the seed's matrices.

    Returns
    -------
    ndarray, shape (rows, columns), Fortran order
    """
    out = np.empty((rows, columns), dtype, order="F")
    for tile, row, row_in_tile in _cuts(first_row, rows, TILE_ROWS):
        for block, column, column_in_block in _cuts(first_column, columns, BLOCK_COLUMNS):
            drawn = _tile(seed, tile, block, domain, np.dtype(dtype).kind == "c", row_in_tile.stop)
            out[row, column] = drawn[row_in_tile, column_in_block]
    return out


def probe_vectors(seed: int, rows: int, wide: np.dtype, work: np.dtype) -> np.ndarray:
    """The probes of a seed, shape (rows, r): entries that `work` holds, in the type `wide`."""
    return gaussian(seed, rows, PROBE_COLUMNS, dtype=wide, domain=PROBES).astype(work).astype(wide)


def filling(rows: int, columns: int, dtype: Any) -> np.ndarray:
    """Columns in the place of singular vectors that coincide: any will do, they stand for values of 0."""
    return gaussian(0, rows, columns, dtype=dtype, first_column=2**20)


def uniform(seed: int, size: int) -> np.ndarray:
    """Numbers in [0, 1), shape (size,), of which the first do not depend on how many are drawn."""
    key = np.array([seed % 2**64, SAMPLE << 56], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(size)


def _cuts(first: int, length: int, size: int) -> Iterator[tuple[int, slice, slice]]:
    """(tile number, slice of the output, slice of the tile) for every tile that `first:first + length` meets."""
    for tile in range(first // size, -(-(first + length) // size)):
        low, high = max(first, tile * size), min(first + length, (tile + 1) * size)
        yield tile, slice(low - first, high - first), slice(low - tile * size, high - tile * size)


def _tile(seed: int, tile: int, block: int, domain: int, complex_entries: bool, rows: int) -> np.ndarray:
    """The first rows of a tile; they do not depend on how many are drawn."""
    key = np.array([seed % 2**64, (domain << 56) | (block << 32) | tile], dtype=np.uint64)
    stream = np.random.Generator(np.random.Philox(key=key))
    if not complex_entries:
        return stream.standard_normal((rows, BLOCK_COLUMNS))
    pairs = stream.standard_normal((rows, BLOCK_COLUMNS, 2)) * np.sqrt(0.5)
    return np.asarray(pairs.view(np.complex128)[..., 0])
