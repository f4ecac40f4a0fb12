"""Full SVD of a matrix that fits in memory, by LAPACK."""

import numpy as np
import scipy.linalg

from svdflow.compute.engine import one_blas_thread


def full_svd(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin SVD, ``A = U diag(s) Vt``, in float64 or complex128 on one BLAS thread.

    Divide and conquer (gesdd); where that does not converge, QR iteration (gesvd), which is slower and does.
    """
    with one_blas_thread():
        try:
            U, s, Vt = scipy.linalg.svd(A, full_matrices=False, check_finite=False, lapack_driver="gesdd")
        except np.linalg.LinAlgError:
            U, s, Vt = scipy.linalg.svd(A, full_matrices=False, check_finite=False, lapack_driver="gesvd")
    return U, s, Vt
