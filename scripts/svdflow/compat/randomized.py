"""scikit-learn's `randomized_svd`, argument for argument."""

import sys
import warnings
from typing import Any

import array_api_compat
import numpy as np
import scipy.sparse as sp

from svdflow.compat.accuracy import decompose, narrowed, peer_dtype
from svdflow.compat.parameters import (
    is_boolean,
    is_integer,
    is_text,
    require,
    require_normalizer,
    seed_of_random_state,
)
from svdflow.compute import to_numpy
from svdflow.matrix.opening import as_source
from svdflow.matrix.sources import MatrixSource

DRIVERS = ("gesdd", "gesvd")
CALLER = "randomized_svd"


def randomized_svd(
    M: Any,
    n_components: int,
    *,
    n_oversamples: int = 10,
    n_iter: Any = "auto",
    power_iteration_normalizer: str = "auto",
    transpose: Any = "auto",
    flip_sign: bool = True,
    random_state: Any = None,
    svd_lapack_driver: str = "gesdd",
) -> tuple[Any, Any, Any]:
    """Leading singular triplets, called as ``sklearn.utils.extmath.randomized_svd`` is.

    At least as accurate as scikit-learn with the same arguments, in fewer reads of the matrix.

    Parameters
    ----------
    M : array-like or sparse matrix, shape (m, n)
        Of any numeric dtype, complex too. Beyond scikit-learn also a dask array, a path, an h5py dataset or a
        `MatrixSource`, which are read panel by panel.
    n_components : int
        Number of triplets k; min(m, n) of them come back where it is larger.
    n_oversamples : int
        The sketch has k + n_oversamples columns.
    n_iter : int or "auto"
        How accurate: at least as that many power iterations would be. "auto" is 7 where k < 0.1 min(m, n), else 4.
        The matrix is read 2, 3, 4, 4 or 5 times for 0, 1, 2, 4 or 7 iterations (one more for the last two in
        float64), 2 n_iter + 2 times by scikit-learn. Small matrices and moderately narrow ones are factorized exactly.
    power_iteration_normalizer : {"auto", "QR", "LU", "none"}
        Checked, and without effect: every block is orthonormalized on the short side.
    transpose : bool or "auto"
        Checked, and without effect: the short side is found, and nothing is transposed in memory.
    flip_sign : bool
        Make the entry of largest magnitude in each left singular vector positive (for complex M real and positive).
        Otherwise it is the one in the right singular vector.
    random_state : None, int or numpy.random.RandomState
        None draws a seed from NumPy's global stream.
    svd_lapack_driver : {"gesdd", "gesvd"}
        Checked, and without effect: gesvd takes over where gesdd does not converge.

    Returns
    -------
    u : ndarray, shape (m, k), orthonormal columns
    s : ndarray, shape (k,), not increasing
    vh : ndarray, shape (k, n), orthonormal rows
        float32 for float32, complex64 and float32 `s` for complex64, else double precision. Under scikit-learn's
        ``array_api_dispatch``, arrays of the namespace of M.

    Raises
    ------
    InvalidParameterError
        (a ValueError and a TypeError) An argument of a wrong type or value.
    ValueError
        M is not a matrix of numbers, is empty, or holds NaN or infinity.

    Warns
    -----
    scipy.sparse.SparseEfficiencyWarning
        For the formats LIL and DOK.

    Notes
    -----
    `svdflow.truncated_svd` says how good the factors are and stops at a tolerance; this door has no place for either.
    With ``n_iter=0``, singular values below ``sqrt(eps) s_1`` are resolved to that and no further. The mapping
    of arguments, with its reasons, is in the docstring of `svdflow.compat.accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[1, 2, 3, 5], [3, 4, 5, 6], [7, 8, 9, 10]])
    >>> u, s, vh = randomized_svd(a, n_components=2, random_state=0)
    >>> u.shape, s.shape, vh.shape
    ((3, 2), (2,), (2, 4))
    """
    _check(
        n_components,
        n_oversamples,
        n_iter,
        power_iteration_normalizer,
        transpose,
        flip_sign,
        svd_lapack_driver,
    )
    seed = seed_of_random_state(random_state, CALLER)
    source = _source(M)
    side = min(source.shape)
    if n_iter == "auto":
        n_iter = 7 if n_components < 0.1 * side else 4  # as scikit-learn has it
    rank = int(min(n_components, side))
    oversampling = int(n_components + n_oversamples) - rank
    U, s, Vt = decompose(source, rank, n_oversamples=oversampling, n_iter=int(n_iter), seed=seed)
    if flip_sign:
        unit = _phase_of_largest(U)
        U /= unit
        Vt *= unit[:, None]
    return _as_given(M, U, narrowed(s, peer_dtype(source.dtype).type(0).real.dtype, "singular values"), Vt)


def _check(
    n_components: Any,
    n_oversamples: Any,
    n_iter: Any,
    power_iteration_normalizer: Any,
    transpose: Any,
    flip_sign: Any,
    svd_lapack_driver: Any,
) -> None:
    require(is_integer(n_components, 1), "n_components", CALLER, "an int in the range [1, inf)", n_components)
    require(
        is_integer(n_oversamples, 0), "n_oversamples", CALLER, "an int in the range [0, inf)", n_oversamples
    )
    known = is_text(n_iter, ("auto",)) or is_integer(n_iter, 0)
    require(known, "n_iter", CALLER, "an int in the range [0, inf) or a str among {'auto'}", n_iter)
    require_normalizer(power_iteration_normalizer, CALLER)
    known = is_text(transpose, ("auto",)) or is_boolean(transpose)
    require(known, "transpose", CALLER, "an instance of 'bool' or a str among {'auto'}", transpose)
    require(is_boolean(flip_sign), "flip_sign", CALLER, "an instance of 'bool'", flip_sign)
    known = is_text(svd_lapack_driver, DRIVERS)
    require(known, "svd_lapack_driver", CALLER, f"a str among {set(DRIVERS)}", svd_lapack_driver)


def _source(M: Any) -> MatrixSource:
    """A source of M; array-likes become arrays of numbers first, as scikit-learn's check_array makes them."""
    if isinstance(M, np.matrix):
        raise TypeError("np.matrix is not supported; convert it to an array with np.asarray")
    if sp.issparse(M) and M.format in ("lil", "dok"):
        warnings.warn(
            f"Calculating SVD of a {type(M).__name__} is expensive. CSR format is more efficient.",
            sp.SparseEfficiencyWarning,
            stacklevel=3,
        )
    if isinstance(M, list | tuple) or (_is_foreign(M) and not array_api_compat.is_cupy_array(M)):
        M = to_numpy(M)
    if isinstance(M, np.ndarray) and M.dtype.kind == "O":
        M = np.asarray(M, np.float64)
    try:
        return as_source(M)
    except TypeError as error:
        require(False, "M", CALLER, f"an array-like or a sparse matrix ({error})", M)
        raise


def _is_foreign(M: Any) -> bool:
    """Whether M is an array of CuPy, PyTorch or another library of the array API that holds its entries."""
    known = array_api_compat.is_numpy_array(M) or array_api_compat.is_dask_array(M)
    return array_api_compat.is_array_api_obj(M) and not known


def _phase_of_largest(U: np.ndarray) -> np.ndarray:
    """Sign or phase of the entry of largest magnitude in each column, by plain argmax as scikit-learn's svd_flip."""
    entry = U[np.argmax(np.abs(U), axis=0), np.arange(U.shape[1])]
    length = np.abs(entry)
    return np.where(length > 0, entry / np.where(length > 0, length, 1), 1).astype(U.dtype)


def _as_given(M: Any, *factors: np.ndarray) -> Any:
    """The factors as arrays of the namespace and device of M, where scikit-learn is told to dispatch on it."""
    sklearn = sys.modules.get("sklearn")
    if sklearn is None or not sklearn.get_config()["array_api_dispatch"] or not _is_foreign(M):
        return factors
    xp, device = array_api_compat.array_namespace(M), array_api_compat.device(M)
    return tuple(xp.asarray(factor, device=device) for factor in factors)
