"""What is factorized: matrices that are read in bands of rows, wherever they live.

A source says its shape, dtype and layout, and reads rows. It is small to pickle where it stands for a
file, because it holds the path and opens the file where it is read.
"""

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
from array_api_compat import array_namespace

from svdflow.compute.engine import Shared
from svdflow.errors import MaskedError
from svdflow.matrix.blocks import refuse_unlike
from svdflow.matrix.bounded import refuse_unfit
from svdflow.matrix.masks import refusal, unmasked
from svdflow.matrix.panels import Bands, panel_bounds, panel_height
from svdflow.matrix.sparse import canonical_rows

NUMERIC = "biufc"
# A matrix with missing values of at most so many entries is read once more, so that the message counts all of them;
# half a gigabyte of float64, a second or so. Chosen.
COUNTED_VALUES = (
    2**25
)  # of a matrix with missing values that is read once more, so that the message counts all of them
CHEAP_COLUMNS = 64 * 2**20  # bytes of the stored chunks under one band of columns that may be read at a time


class MatrixSource(Shared):
    """A matrix that is read in bands of consecutive rows.

    Attributes
    ----------
    shape : (m, n)
    dtype : numpy.dtype
        As stored; panels are converted one at a time, the whole matrix never.
    name : str
        For messages.
    sparse : bool
        `read` returns CSR matrices.
    in_memory : bool
        Reading costs a memory copy at most.
    density : float
        Stored entries over m n.
    row_bands, column_bands : int, sequence of int or None
        Stored bands along each side; a read of a part of one may cost the whole.
    column_access : bool
        `read_columns` costs about what the columns weigh, not the whole matrix.
    matrix_free : bool
        It is known by products (`svdflow.matrix.operators.OperatorSource`); a read costs one for each of its rows.
    keeps_promises : bool
        Panels have this shape, dtype and sparsity by construction, no masks, and do not change; `as_source` puts a
        check before any other source.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    name: str = "matrix"
    sparse: bool = False
    in_memory: bool = False
    density: float = 1.0
    row_bands: Bands = None
    column_bands: Bands = None
    column_access: bool = False
    matrix_free: bool = False
    keeps_promises: bool = False

    def read(self, start: int, stop: int) -> Any:
        """Rows ``start:stop`` as an ndarray (stop - start, n), or CSR. The caller must not write into it."""
        raise NotImplementedError

    def read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        """Rows ``start:stop`` into `out`, shape (stop - start, n) of any dtype; dense sources only.

        Without a copy where the source stands for a file, and `out` is C-contiguous and of its dtype.
        """
        out[...] = self.read(start, stop)

    def read_columns(self, start: int, stop: int) -> Any:
        """Columns ``start:stop`` as an ndarray (m, stop - start), or sparse."""
        raise NotImplementedError

    def csr(self) -> sp.csr_array:
        """The whole of a sparse matrix in memory, by rows."""
        raise NotImplementedError

    def csc(self) -> sp.csc_array:
        """The whole of a sparse matrix in memory, by columns."""
        raise NotImplementedError

    def adjoint(self) -> "MatrixSource":
        """The conjugate transpose, as a source; nothing is copied."""
        return TransposedSource(self)

    @property
    def panel_height(self) -> int:
        """Rows to read at a time: about 8 MB, whole stored bands where there are any."""
        band = self.row_bands if isinstance(self.row_bands, int) else None
        return panel_height(self.shape, self.itemsize, band)

    @property
    def itemsize(self) -> float:
        """Bytes of one entry of a panel, on average."""
        stored = self.dtype.itemsize + (4 if self.sparse else 0)
        return max(stored * self.density, 8 / max(1, self.shape[1])) if self.sparse else stored

    def bounds(self, itemsize: float | None = None) -> list[tuple[int, int]]:
        """First and last-plus-one row of every panel."""
        return panel_bounds(self.shape, itemsize or self.itemsize, self.row_bands)

    def __repr__(self) -> str:
        m, n = self.shape
        return f"{type(self).__name__}({self.name!r}, {m} x {n}, {self.dtype})"


class ArraySource(MatrixSource):
    """A dense NumPy or CuPy array."""

    in_memory = True
    column_access = True
    keeps_promises = True

    def __init__(self, array: Any, name: str = "matrix") -> None:
        _check_matrix(array.shape, array.dtype, name)
        self._array = array
        self.shape, self.dtype, self.name = array.shape, np.dtype(array.dtype), name

    def read(self, start: int, stop: int) -> Any:
        return self._array[start:stop]

    def read_columns(self, start: int, stop: int) -> Any:
        return self._array[:, start:stop]


class SparseSource(MatrixSource):
    """A SciPy sparse matrix of any format; entries stored twice are added.

    Columns are read from a CSC copy, made once where needed.
    """

    sparse = True
    in_memory = True
    column_access = True
    keeps_promises = True

    def __init__(self, matrix: Any, name: str = "matrix") -> None:
        _check_matrix(matrix.shape, matrix.dtype, name)
        self._rows = canonical_rows(matrix, name)
        self._columns: Any = None
        self.shape, self.dtype, self.name = matrix.shape, np.dtype(self._rows.dtype), name
        self.density = self._rows.nnz / max(1, self.shape[0] * self.shape[1])

    def read(self, start: int, stop: int) -> Any:
        return self._rows[start:stop]

    def read_columns(self, start: int, stop: int) -> Any:
        return self.csc()[:, start:stop]

    def csr(self) -> sp.csr_array:
        return self._rows

    def csc(self) -> sp.csc_array:
        if self._columns is None:
            self._columns = self._rows.tocsc()
        return self._columns


class DaskSource(MatrixSource):
    """A dask array of two dimensions. Panels are whole row chunks, so that no chunk is computed twice.

    Each block is held to what the array says of it (shape, dtype, sparsity) as it is computed, and to have no masked
    value: joining blocks would drop the masks.
    """

    def __init__(self, array: Any, name: str = "dask array") -> None:
        if any(np.isnan(side) for side in array.shape):
            raise ValueError(f"{name}: chunk sizes are unknown; call compute_chunk_sizes() on it first")
        _check_matrix(array.shape, array.dtype, name)
        self.shape, self.dtype, self.name = array.shape, np.dtype(array.dtype), name
        self.sparse = sp.issparse(array._meta)
        self._array = array
        self._held = any(hasattr(value, "client") for value in dict(array.__dask_graph__()).values())
        self.row_bands, self.column_bands = array.chunks
        # A column chunk that spans all rows is read once; several row chunks are simply joined.
        self.column_access = len(array.chunks[1]) > 1 or self.shape[0] * self.shape[1] * 8 <= 64 * 2**20

    def read(self, start: int, stop: int) -> Any:
        return self._compute(self._array[start:stop], f"{self.name}, rows {start} to {stop - 1}")

    def read_columns(self, start: int, stop: int) -> Any:
        return self._compute(self._array[:, start:stop], f"{self.name}, columns {start} to {stop - 1}")

    def _compute(self, part: Any, where: str) -> Any:
        from dask.array.core import finalize
        from dask.base import compute_as_if_collection

        # Panels already run in parallel; a scheduler inside each would only add threads. Chunks that a cluster holds
        # are known to its client alone.
        how = {} if self._held else {"scheduler": "synchronous"}
        blocks = compute_as_if_collection(type(part), part.__dask_graph__(), part.__dask_keys__(), **how)
        try:
            blocks = [
                [self._checked(block, (h, w), where) for block, w in zip(row, part.chunks[1])]
                for row, h in zip(blocks, part.chunks[0])
            ]
        except MaskedError:
            if math.prod(self.shape) > COUNTED_VALUES:
                raise
            delayed = (block.compute() for block in self._array.to_delayed().ravel())
            found = sum(int(np.ma.count_masked(b)) for b in delayed if isinstance(b, np.ma.MaskedArray))
            raise MaskedError(refusal(self.name, found, math.prod(self.shape))) from None
        joined = finalize(blocks)
        return sp.csr_array(joined) if sp.issparse(joined) else joined

    def _checked(self, block: Any, shape: tuple[int, int], where: str) -> Any:
        block = unmasked(block, where)
        refuse_unlike(block, shape, self.dtype, self.sparse, f"{where}: a block")
        return block


class TransposedSource(MatrixSource):
    """The conjugate transpose of a source: its rows are the columns there. Nothing is copied but panels."""

    column_access = True
    keeps_promises = True  # it is made of checked sources alone

    def __init__(self, source: MatrixSource) -> None:
        self._source = source
        self.shape, self.dtype, self.name = source.shape[::-1], source.dtype, source.name
        self.sparse, self.in_memory, self.density = source.sparse, source.in_memory, source.density
        self.row_bands, self.column_bands = source.column_bands, source.row_bands

    def read(self, start: int, stop: int) -> Any:
        rows = _adjoint(self._source.read_columns(start, stop))
        return sp.csr_array(rows) if self.sparse else rows

    def read_columns(self, start: int, stop: int) -> Any:
        return _adjoint(self._source.read(start, stop))

    def csr(self) -> sp.csr_array:
        return sp.csr_array(_adjoint(self._source.csc()))


def _check_matrix(shape: Any, dtype: Any, name: str) -> None:
    if len(shape) != 2:
        raise ValueError(f"{name}: a matrix has 2 dimensions, this has {len(shape)} (shape {tuple(shape)})")
    if any(side < 1 for side in shape):
        raise ValueError(f"{name}: the matrix is empty (shape {tuple(shape)})")
    dtype = np.dtype(dtype)
    if dtype.kind not in NUMERIC:
        raise ValueError(f"{name}: entries of dtype {dtype} are not numbers; convert them first")
    if dtype.itemsize // (2 if dtype.kind == "c" else 1) > 8:
        raise ValueError(
            f"{name}: {dtype} is wider than LAPACK computes in; convert to float64 or complex128"
        )
    refuse_unfit(int(shape[1]) * dtype.itemsize, f"{name}: one row")


def _adjoint(block: Any) -> Any:
    if sp.issparse(block) or isinstance(block, np.ndarray):
        return block.conj().T if block.dtype.kind == "c" else block.T
    xp = array_namespace(block)
    return xp.conj(block).T if xp.isdtype(block.dtype, "complex floating") else block.T


def listed(names: list[str], shown: int = 8) -> str:
    """The first few names, for messages."""
    more = f", ... ({len(names)} in all)" if len(names) > shown else ""
    return (", ".join(repr(name) for name in names[:shown]) + more) or "no matrix in it"
