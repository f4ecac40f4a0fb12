"""Products with a sparse matrix in memory, a few columns of the block at a time.

A product with a sparse matrix gathers rows of the block in no order, so what counts is that these rows stay in cache.
A slice of the block whose rows fill one cache line does that: its products ``A X`` and ``A^H Y`` both run over the same
CSR arrays (``A^H`` is their CSC reading), and the middle factor lives for one band of rows only. The tasks are slices,
and halves of the rows where these are many: as few sums as that are added in one order, so that any number of threads
gives the same bits.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import _sparsetools

from svdflow.compute.engine import Engine

# Bytes of a row of a slice of the block: a cache line, so that each row that is gathered costs one; half of it and
# four times as much take 13 % longer (benchmarks/results/constants.md).
LINE = 128
# A band has at least so many stored entries for each column of A, so that adding up its product costs little beside it,
# and so many rows (chosen; 1 entry takes 4 % longer). Bands shape the sums, so other values give other bits.
BAND_ENTRIES, LEAST_BAND = 32, 4096
# Parts of the rows that are tasks of their own, so that a block of one slice has two, where each has a few bands: their
# sums take a hundredth of the time to add (chosen).
PARTS, LEAST_BANDS = 2, 2


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
        least = max(LEAST_BAND, -(-BAND_ENTRIES * n * m // max(1, self.matrix.nnz)))
        return -(-m // max(1, m // least))  # bands are equally high

    def gram_times(
        self, X: np.ndarray, *, shift: np.ndarray | None = None, keep: np.ndarray | None = None
    ) -> np.ndarray:
        """``A^H Y`` for ``Y = A X - 1 shift`` in one read, shape (n, b), float64 or complex128; X of shape (n, b).

        The first columns of Y are written to `keep`, shape (m, at most b), where it is given.
        """
        return self._sums(partial(self._gram_slice, shift, keep), X, len(X))

    def times(self, X: np.ndarray) -> np.ndarray:
        """``A X``, shape (m, b), float64 or complex128; X of shape (n, b)."""
        out = np.empty((self.matrix.shape[0], X.shape[1]), self.wide)
        self.write_rows(X, _Into(out))
        return out

    def write_rows(self, X: np.ndarray, scratch: Any) -> None:
        """Bands of rows of ``A X`` to ``scratch.write(first row, rows)``."""
        slices = self._sliced(X)
        _ = self._entries

        def run(band: tuple[int, int]) -> int:
            scratch.write(band[0], np.concatenate([self._rows(*band, part) for _, part in slices], axis=1))
            return 0

        self.engine.reduce(run, self._bands, max)

    def adjoint_times(self, Y: np.ndarray) -> np.ndarray:
        """``A^H Y``, shape (n, b), float64 or complex128; Y of shape (m, b)."""
        return self._sums(self._adjoint_slice, Y, self.matrix.shape[1])

    @cached_property
    def _entries(self) -> np.ndarray:
        return self.matrix.data.astype(self.work, copy=False)

    @cached_property
    def _adjoint_entries(self) -> np.ndarray:
        return self._entries.conj() if self.work.kind == "c" else self._entries

    def _sliced(self, X: np.ndarray) -> list[tuple[slice, np.ndarray]]:
        """Slices of the block, row by row in memory."""
        width = max(1, LINE // self.work.itemsize)
        columns = [slice(start, min(start + width, X.shape[1])) for start in range(0, X.shape[1], width)]
        return [(own, np.ascontiguousarray(X[:, own], self.work)) for own in columns]

    def _sums(self, task: Any, X: np.ndarray, rows: int) -> np.ndarray:
        """What `task` gives for each slice and each part of the bands, which are added."""
        bands = self._bands
        parts = PARTS if len(bands) >= PARTS * LEAST_BANDS else 1
        cuts = [len(bands) * part // parts for part in range(parts + 1)]
        sums = [np.empty((rows, X.shape[1]), self.wide, order="F") for _ in range(parts)]
        # Converted before the threads start, which would each do it.
        _ = self._entries, self._adjoint_entries

        def run(item: tuple[tuple[slice, np.ndarray], int]) -> int:
            (columns, own), part = item
            sums[part][:, columns] = task(bands[cuts[part] : cuts[part + 1]], own, columns)
            return 0

        self.engine.reduce(run, list(product(self._sliced(X), range(parts))), max)
        for other in sums[1:]:
            sums[0] += other
        return sums[0]

    @property
    def _bands(self) -> list[tuple[int, int]]:
        m, height = self.matrix.shape[0], self.band_height
        return [(start, min(start + height, m)) for start in range(0, m, height)]

    def _gram_slice(
        self, shift: np.ndarray | None, keep: np.ndarray | None, bands: Any, X: np.ndarray, columns: slice
    ) -> np.ndarray:
        total: np.ndarray | None = None
        for start, stop in bands:
            Y = self._rows(start, stop, X)
            if shift is not None:
                Y -= shift[columns].astype(self.work)
            if keep is not None and columns.start < keep.shape[1]:
                kept = slice(columns.start, min(columns.stop, keep.shape[1]))
                keep[start:stop, kept] = Y[:, : kept.stop - kept.start]
            power = 1.0 if self.work == self.wide else _middle_power(Y)
            if power != 1:
                Y /= self.work.type(power)
            total = self._plus_adjoint(start, stop, Y, total, power)
        assert total is not None
        return total

    def _adjoint_slice(self, bands: Any, Y: np.ndarray, columns: slice) -> np.ndarray:
        total: np.ndarray | None = None
        for start, stop in bands:
            total = self._plus_adjoint(start, stop, Y[start:stop], total)
        assert total is not None
        return total

    def _rows(self, start: int, stop: int, X: np.ndarray) -> np.ndarray:
        """Rows of ``A X``."""
        n, b = X.shape
        Y = np.zeros((stop - start, b), self.work)
        A = self.matrix
        # SciPy's own loops, which release the interpreter: its operators copy the band's arrays for every product.
        arrays = A.indptr[start : stop + 1], A.indices, self._entries, X.ravel(), Y.ravel()
        if b == 1:
            _sparsetools.csr_matvec(stop - start, n, *arrays)
        else:
            _sparsetools.csr_matvecs(stop - start, n, b, *arrays)
        return Y

    def _plus_adjoint(
        self, start: int, stop: int, Y: np.ndarray, total: np.ndarray | None, power: float = 1.0
    ) -> np.ndarray:
        """`total`, where there is one, and what rows ``start:stop`` give of ``A^H Y``, times `power`."""
        n, b = self.matrix.shape[1], Y.shape[1]
        Z = total if total is not None and self.work == self.wide else np.zeros((n, b), self.work)
        A = self.matrix
        arrays = A.indptr[start : stop + 1], A.indices, self._adjoint_entries, Y.ravel(), Z.ravel()
        if b == 1:
            _sparsetools.csc_matvec(n, stop - start, *arrays)
        else:
            _sparsetools.csc_matvecs(n, stop - start, b, *arrays)
        if Z is total:
            return Z
        if power != 1:
            Z = Z.astype(self.wide) * power
        if total is None:
            return Z if len(self._bands) == 1 else Z.astype(self.wide, copy=False)
        total += Z
        return total


@dataclass(frozen=True)
class _Into:
    """A scratch that is an array."""

    rows: np.ndarray

    def write(self, start: int, rows: np.ndarray) -> None:
        self.rows[start : start + len(rows)] = rows


def _middle_power(Y: np.ndarray) -> float:
    """A power of two that brings Y to size one: float32 holds ``A X`` for entries of 1e30, but not its square."""
    ends = np.abs(Y) if Y.dtype.kind == "c" else np.array([Y.max(initial=0.0), -Y.min(initial=0.0)])
    top = float(ends.max(initial=0.0))
    return 1.0 if 2.0**-20 < top < 2.0**20 or not 0 < top < np.inf else 2.0 ** float(np.floor(np.log2(top)))
