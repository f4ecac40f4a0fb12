"""The whole of a matrix in memory, in double precision."""

import numpy as np

from svdflow.compute import to_numpy
from svdflow.errors import NonFiniteError
from svdflow.matrix.panels import name_rows
from svdflow.matrix.sources import MatrixSource


def load_dense(source: MatrixSource) -> np.ndarray:
    """The whole matrix in float64 or complex128, checked for NaN and infinity."""
    wide = np.complex128 if source.dtype.kind == "c" else np.float64
    A = np.empty(source.shape, wide, order="F")
    for start, stop in source.bounds():
        block = source.read(start, stop)
        A[start:stop] = block.toarray() if source.sparse else to_numpy(block)
    if not np.isfinite(A).all():
        bad = np.flatnonzero(~np.isfinite(A).all(axis=1))
        raise NonFiniteError(
            f"{source.name}: NaN or infinity in {name_rows(bad)} (counted from 0); replace or drop such entries first"
        )
    return A
