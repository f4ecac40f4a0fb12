"""Products with a sparse matrix in memory, a few columns of the block at a time.

A product with a sparse matrix gathers rows of the block in no order, so what counts is that these rows stay in cache.
A slice of the block whose rows fill one cache line does that: its products ``A X`` and ``A^H Y`` both run over the same
CSR arrays (``A^H`` is their CSC reading), and the middle factor lives for one band of rows only. Slices do not depend
on each other, so they are the tasks: no sums are shared, and any number of threads gives the same bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import _sparsetools

from svdflow.compute.engine import Engine

# Bytes of a row of a slice of the block: a cache line, so that each row that is gathered costs one; half of it and
# four times as much take 13 % longer (benchmarks/results/constants.md).
LINE = 64
# A band has at least so many stored entries for each column of A, so that adding up its product costs little beside it,
# and so many rows (chosen; 1 entry takes 4 % longer). Bands shape the sums, so other values give other bits.
BAND_ENTRIES, LEAST_BAND = 8, 4096


@dataclass(frozen=True)
class SparseProducts:
    """Products of a sparse matrix A (m, n) and of its adjoint with blocks of vectors.

    Parameters
    ----------
    matrix : CSR matrix or array, shape (m, n)
        A itself; its arrays are not copied. Of a wide matrix in CSC format the transpose is CSR at no cost.
    work : dtype
        Of the products: float32, float64, complex64 or complex128. Bands are summed in double precision whatever it
        is, so single precision costs about ``eps sqrt(entries of a band in one column)``.
    engine : Engine
        Runs the slices; its tasks must see this process's memory.
    """

    matrix: Any
    work: np.dtype
    engine: Engine

    @classmethod
    def of_csc(cls, matrix: Any, work: np.dtype, engine: Engine) -> "SparseProducts":
        """Products of ``matrix^H``, for a matrix in CSC format."""
        rows = matrix.conj().T if matrix.dtype.kind == "c" else matrix.T
        return cls(sp.csr_array(rows), work, engine)

    @property
    def wide(self) -> np.dtype:
        return np.dtype(np.complex128 if self.work.kind == "c" else np.float64)

    @property
    def band_height(self) -> int:
        """Rows of a band, a pure function of shape and number of entries."""
        m, n = self.matrix.shape
        return min(m, max(LEAST_BAND, -(-BAND_ENTRIES * n * m // max(1, self.matrix.nnz))))

    def gram_times(
        self, X: np.ndarray, *, shift: np.ndarray | None = None, keep: np.ndarray | None = None
    ) -> np.ndarray:
        """``A^H Y`` for ``Y = A X - 1 shift`` in one read, shape (n, b), float64 or complex128; X of shape (n, b).

        The first columns of Y are written to `keep`, shape (m, at most b), where it is given.
        """
        return self._by_slices(partial(self._gram_slice, shift, keep), X, len(X))

    def times(self, X: np.ndarray) -> np.ndarray:
        """``A X``, shape (m, b), float64 or complex128; X of shape (n, b)."""
        return self._by_slices(self._slice, X, self.matrix.shape[0])

    def adjoint_times(self, Y: np.ndarray) -> np.ndarray:
        """``A^H Y``, shape (n, b), float64 or complex128; Y of shape (m, b)."""
        return self._by_slices(self._adjoint_slice, Y, self.matrix.shape[1])

    @cached_property
    def _entries(self) -> np.ndarray:
        return self.matrix.data.astype(self.work, copy=False)

    @cached_property
    def _adjoint_entries(self) -> np.ndarray:
        return self._entries.conj() if self.work.kind == "c" else self._entries

    def _by_slices(self, task: Any, X: np.ndarray, rows: int) -> np.ndarray:
        b = X.shape[1]
        width = max(1, LINE // self.work.itemsize)
        # Converted before the threads start, which would each do it.
        _ = self._entries, self._adjoint_entries
        out = np.empty((rows, b), self.wide, order="F")

        def run(start: int) -> int:
            columns = slice(start, min(start + width, b))
            out[:, columns] = task(np.ascontiguousarray(X[:, columns], self.work), columns)
            return 0

        self.engine.reduce(run, range(0, b, width), max)
        return out

    def _bands(self) -> Iterator[tuple[int, int]]:
        m, height = self.matrix.shape[0], self.band_height
        return ((start, min(start + height, m)) for start in range(0, m, height))

    def _gram_slice(
        self, shift: np.ndarray | None, keep: np.ndarray | None, X: np.ndarray, columns: slice
    ) -> np.ndarray:
        total = np.zeros(X.shape, self.wide)
        for start, stop in self._bands():
            Y = self._rows(start, stop, X)
            if shift is not None:
                Y -= shift[columns].astype(self.work)
            if keep is not None and columns.start < keep.shape[1]:
                kept = slice(columns.start, min(columns.stop, keep.shape[1]))
                keep[start:stop, kept] = Y[:, : kept.stop - kept.start]
            power = _middle_power(Y)
            if power != 1:
                Y /= self.work.type(power)
            Z = self._band_adjoint(start, stop, Y)
            total += Z if power == 1 else Z.astype(self.wide) * power
        return total

    def _slice(self, X: np.ndarray, columns: slice) -> np.ndarray:
        return self._rows(0, self.matrix.shape[0], X)

    def _adjoint_slice(self, Y: np.ndarray, columns: slice) -> np.ndarray:
        total = np.zeros((self.matrix.shape[1], Y.shape[1]), self.wide)
        for start, stop in self._bands():
            total += self._band_adjoint(start, stop, Y[start:stop])
        return total

    def _rows(self, start: int, stop: int, X: np.ndarray) -> np.ndarray:
        """Rows of ``A X``."""
        n, b = X.shape
        Y = np.zeros((stop - start, b), self.work)
        A = self.matrix
        # SciPy's own loops, which release the interpreter: its operators copy the band's arrays for every product.
        _sparsetools.csr_matvecs(
            stop - start, n, b, A.indptr[start : stop + 1], A.indices, self._entries, X.ravel(), Y.ravel()
        )
        return Y

    def _band_adjoint(self, start: int, stop: int, Y: np.ndarray) -> np.ndarray:
        """What rows ``start:stop`` add to ``A^H Y``."""
        n, b = self.matrix.shape[1], Y.shape[1]
        Z = np.zeros((n, b), self.work)
        A = self.matrix
        pointers, entries = A.indptr[start : stop + 1], self._adjoint_entries
        _sparsetools.csc_matvecs(n, stop - start, b, pointers, A.indices, entries, Y.ravel(), Z.ravel())
        return Z


def _middle_power(Y: np.ndarray) -> float:
    """A power of two that brings Y to size one: float32 holds ``A X`` for entries of 1e30, but not its square."""
    top = float(np.abs(Y).max(initial=0.0))
    return 1.0 if 2.0**-20 < top < 2.0**20 or not 0 < top < np.inf else 2.0 ** float(np.floor(np.log2(top)))
