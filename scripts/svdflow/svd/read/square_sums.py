"""``P^H P`` of many blocks of rows, added up on and above the diagonal.

NumPy's product of a real matrix with its own transpose calls BLAS's syrk, half the operations of a product, at its full
speed: 1000 columns at 160 billion a second of float32, where a call of syrk by its address took as long.
"""

from typing import Any

import numpy as np

from svdflow.svd.orthonormal import adjoint

# Rows whose products are added up in the precision of the panels before they are added to the sum in double: one more
# rounding for each block of them, where BLAS itself has tens. Mixed sums take four times as long, a tenth of the
# product's time for 1000 columns.
FLUSH_ROWS = 8192
BAND = 64  # rows of a triangle that are added up or mirrored at a time, for the cache (chosen)


class SquareSum:
    """The sum of ``P^H P`` over blocks P of rows of n numbers each.

    Parameters
    ----------
    n : int
    work, wide : dtype
        Of the blocks, and of the sum.
    """

    def __init__(self, n: int, work: np.dtype, wide: np.dtype) -> None:
        self._total = np.zeros((n, n), wide)
        self._part = np.empty((n, n), work)
        self._sum = self._total if work == wide else np.zeros((n, n), work)
        self._rows = 0  # in that sum

    def add(self, block: Any) -> None:
        """Add a block of shape (h, n)."""
        part = np.matmul(adjoint(block), block, out=self._part)
        if not self._rows and len(block) >= FLUSH_ROWS:
            _add_triangle(self._total, part)
            return
        _add_triangle(self._sum, part)
        self._rows += len(block)
        if self._rows >= FLUSH_ROWS:
            self._flush()

    def triangle(self) -> np.ndarray:
        """The sum on and above the diagonal, shape (n, n); below it means nothing."""
        self._flush()
        return self._total

    def _flush(self) -> None:
        if self._sum is not self._total and self._rows:
            _add_triangle(self._total, self._sum)
            self._sum[:] = 0
        self._rows = 0


def mirrored(triangle: np.ndarray) -> np.ndarray:
    """The Hermitian matrix of its upper triangle, in its place."""
    for row in range(0, len(triangle), BAND):
        band, rest = slice(row, row + BAND), slice(row + BAND, None)
        triangle[rest, band] = adjoint(triangle[band, rest])
        square = np.triu(triangle[band, band], 1)
        triangle[band, band] = square + adjoint(square) + np.diag(np.diagonal(triangle[band, band]).real)
    return triangle


def _add_triangle(total: np.ndarray, part: np.ndarray) -> None:
    """By bands of rows, from the diagonal on."""
    for row in range(0, len(total), BAND):
        total[row : row + BAND, row:] += part[row : row + BAND, row:]
