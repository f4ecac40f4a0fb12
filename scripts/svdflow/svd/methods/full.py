"""Full SVD of a matrix that fits in memory, by LAPACK."""

import numpy as np
import scipy.linalg

from svdflow.compute import to_numpy
from svdflow.compute.engine import one_blas_thread
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


def full_svd(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin SVD, ``A = U diag(s) Vt``, in float64 or complex128 on one BLAS thread.

    Divide and conquer (gesdd); where that does not converge, QR iteration (gesvd), which is slower and does.
    """
    with one_blas_thread():
        try:
            return scipy.linalg.svd(A, full_matrices=False, check_finite=False, lapack_driver="gesdd")
        except np.linalg.LinAlgError:
            return scipy.linalg.svd(A, full_matrices=False, check_finite=False, lapack_driver="gesvd")
