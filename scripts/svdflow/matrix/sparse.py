"""Compressed sparse matrices whose index arrays are checked before anything follows them, and made canonical."""

from typing import Any

import numpy as np
import scipy.sparse as sp

KINDS = {"csr": sp.csr_array, "csc": sp.csc_array}


def compressed(
    kind: str, data: Any, indices: Any, indptr: Any, shape: Any, name: str
) -> sp.csr_array | sp.csc_array:
    """A matrix of the three arrays of a compressed format, checked.

    Parameters
    ----------
    kind : {"csr", "csc"}
    data, indices, indptr : arrays of one dimension
        Numbers; minor index of each entry; where the entries of each row (column) begin.
    shape : (m, n)
    name : str
        For messages.

    Raises
    ------
    ValueError
        Lengths, order, range, sign or type of the arrays do not fit each other. SciPy's products follow such indices
        out of their arrays.
    """
    data, indices, indptr = np.asarray(data), np.asarray(indices), np.asarray(indptr)
    if len(shape) != 2 or any(int(side) != side or side < 0 for side in shape):
        raise ValueError(f"{name}: the shape {tuple(shape)} of its sparse matrix is not that of a matrix")
    shape = (int(shape[0]), int(shape[1]))
    for part, array in (("indices", indices), ("indptr", indptr)):
        if array.dtype.kind not in "iu":
            raise ValueError(f"{name}: {part} are of dtype {array.dtype}; indices are integers")
    if data.dtype.kind not in "biufc":
        raise ValueError(f"{name}: entries of dtype {data.dtype} are not numbers; convert them first")
    check_compressed(data, indices, indptr, shape if kind == "csr" else shape[::-1], name, kind)
    wide = max(len(data), *shape) > np.iinfo(np.int32).max
    index = np.int64 if wide else np.int32
    parts = (data, indices.astype(index, copy=False), indptr.astype(index, copy=False))
    return KINDS[kind](parts, shape=shape)


def check_compressed(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, sides: tuple[int, int], name: str, kind: str
) -> None:
    """Refuse index arrays that do not describe a matrix of `sides` (major, minor)."""
    major, minor = sides
    line = "row" if kind == "csr" else "column"
    if data.ndim != 1 or indices.ndim != 1 or indptr.ndim != 1:
        raise ValueError(f"{name}: data, indices and indptr must have one dimension each")
    if len(indptr) != major + 1:
        raise ValueError(f"{name}: indptr has {len(indptr)} entries, where {major} {line}s need {major + 1}")
    if len(indices) != len(data):
        raise ValueError(f"{name}: {len(data)} entries have {len(indices)} indices")
    if int(indptr[0]) != 0 or int(indptr[-1]) != len(data):
        raise ValueError(
            f"{name}: indptr runs from {indptr[0]} to {indptr[-1]}, where it must from 0 to the {len(data)} entries"
        )
    if not np.all(indptr[1:] >= indptr[:-1]):
        at = int(np.argmin(indptr[1:] >= indptr[:-1]))
        raise ValueError(f"{name}: indptr decreases behind {line} {at}")
    if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < minor):
        outside = (indices < 0) | (indices >= minor)
        raise ValueError(
            f"{name}: {int(np.count_nonzero(outside))} indices lie outside 0 to {minor - 1} (the first is "
            f"{indices[int(np.argmax(outside))]}); the file or its shape is damaged"
        )


def canonical_rows(matrix: Any, name: str) -> sp.csr_array:
    """A SciPy sparse matrix as CSR with sorted indices and each entry once; the given one is not changed.

    Entries stored twice are added, as SciPy means them. Where a small integer type does not hold a sum, the
    result is int64.
    """
    if matrix.format in KINDS:
        sides = matrix.shape if matrix.format == "csr" else matrix.shape[::-1]
        check_compressed(matrix.data, matrix.indices, matrix.indptr, sides, name, matrix.format)
    elif matrix.format == "coo":
        for place, side in zip(matrix.coords, matrix.shape):
            if len(place) and not (int(place.min()) >= 0 and int(place.max()) < side):
                raise ValueError(f"{name}: coordinates lie outside 0 to {side - 1}")
    elif matrix.format == "bsr":
        matrix.check_format(full_check=True)
    dtype = np.dtype(matrix.dtype)
    if dtype.kind in "iu" and dtype.itemsize < 8 and matrix.format in ("coo", "csr", "csc"):
        # SciPy adds duplicates of small integers in their own type, where they wrap around.
        wide = _canonical(matrix.astype(np.int64))
        narrow = wide.astype(dtype)
        return narrow if np.array_equal(narrow.data, wide.data) else wide
    return _canonical(matrix)


def _canonical(matrix: Any) -> sp.csr_array:
    rows = sp.csr_array(matrix)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows
