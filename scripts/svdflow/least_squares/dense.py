"""Least squares and pseudo-inverse of small dense matrices, by their SVD or by QR."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from svdflow.checks import check_count, check_number
from svdflow.compute.engine import one_blas_thread
from svdflow.matrix.dense import load_dense
from svdflow.matrix.masks import materialized, unmasked
from svdflow.matrix.opening import as_source
from svdflow.svd.lapack import full_svd
from svdflow.svd.orthonormal import adjoint

# Corrections at most. Each gains the digits that the condition number leaves, so two or three settle it, and the loop
# ends where one is not half of the last. The problems of NIST in selfcheck/strd.py are solved so.
REFINEMENTS = 10


@dataclass(frozen=True)
class LeastSquares:
    """`x` of least norm among the minimizers of ``||A x - b||``; `residual` is that norm, one a right-hand side."""

    x: np.ndarray
    residual: Any
    rank: int
    s: np.ndarray


@dataclass(frozen=True)
class PseudoInverse:
    """Moore-Penrose inverse `matrix` (n, m) of a matrix of numerical rank `rank`."""

    matrix: np.ndarray
    rank: int
    s: np.ndarray


def lstsq_svd(A: Any, b: Any, *, rank: int | None = None, rcond: float | None = None) -> LeastSquares:
    """Solve ``min ||A x - b||`` by the SVD, also where A has not full rank.

    Parameters
    ----------
    A : shape (m, n)
    b : shape (m,) or (m, r)
    rank : int, optional
        Use only so many singular triplets (truncated SVD regularization).
    rcond : float, optional
        Singular values up to ``rcond s_1`` count as zero; ``max(m, n) eps`` by default.

    Returns
    -------
    LeastSquares

    Notes
    -----
    The cut-off depends on the units of the columns: of NIST's Filip, a polynomial of degree 10, it drops one that
    matters, and no digit is right (rank 10 of 11). Where the columns are known to be independent use `lstsq_qr`.
    """
    A, b = _system(A, b)
    U, s, Vt, r = _kept(A, rank, rcond)
    along = adjoint(U) @ b
    x = adjoint(Vt) @ (along / (s[:r] if b.ndim == 1 else s[:r, None]))
    return LeastSquares(x, _residual(A, x, b), r, s)


def lstsq_qr(A: Any, b: Any) -> LeastSquares:
    """Solve ``min ||A x - b||`` by QR of A with columns of like length, refined to the last digits.

    The choice where A has full rank and columns of unlike size, as a polynomial fit has: the answer does not depend
    on the units of the columns, where a cut-off of small singular values takes them for noise.

    Parameters
    ----------
    A : shape (m, n), real or complex
    b : shape (m,) or (m, r)

    Returns
    -------
    LeastSquares
        `s` are the singular values of A with its columns scaled by powers of two to lengths in [1, 2), and `rank`
        counts those above ``max(m, n) eps s_1``.

    Warns
    -----
    numpy.exceptions.RankWarning
        `rank` is less than n: `x` is then one of many minimizers, with n - `rank` zeros, not the one of least norm.

    Notes
    -----
    Householder QR with column pivoting is backward stable column by column (Higham 2002, theorems 19.4 and 20.3),
    and powers of two scale without rounding. Real systems of full rank are then refined with residuals of twice
    the precision (Björck 1967, BIT 7:257), which gives x to rounding while ``s_1 / s_n`` is well below 1/eps.
    That takes some ten times as long as the decomposition alone.

    Examples
    --------
    >>> import numpy as np
    >>> lstsq_qr(np.vander([1.0, 2.0, 3.0, 4.0], 3), [1, 4, 9, 16]).x.round(12) + 0.0
    array([1., 0., 0.])
    """
    A, b = _system(A, b)
    n = A.shape[1]
    scale, by = _binary(A), _binary(b)
    scaled, right = A * scale, (b * by).reshape(len(b), -1)
    with one_blas_thread():
        Q, R, order = scipy.linalg.qr(scaled, mode="economic", pivoting=True, check_finite=False)
        s = scipy.linalg.svdvals(R, check_finite=False)
        r = int(np.count_nonzero(s > max(A.shape) * np.finfo(float).eps * s[0]))
        y = np.zeros((n, right.shape[1]), np.result_type(A, b, float))
        y[order[:r]] = scipy.linalg.solve_triangular(R[:r, :r], adjoint(Q[:, :r]) @ right, check_finite=False)
        if r == n and y.dtype.kind == "f":
            for column in range(right.shape[1]):
                y[:, column] = _refined(scaled, right[:, column], y[:, column], Q, R, order)
    if r < n:
        message = f"the columns of A have rank {r} of {n} to rounding: the solution is one of many"
        warnings.warn(message, np.exceptions.RankWarning, stacklevel=2)
    x = (scale[:, None] * y / by).reshape(n, *b.shape[1:])
    return LeastSquares(x, _residual(A, x, b), r, s)


def _binary(columns: np.ndarray) -> Any:
    """Powers of two that bring the lengths of columns into [1, 2); 1 for a column of zeros. No square overflows."""
    largest, length = _lengths(columns)
    (m, e), (n, f) = np.frexp(largest), np.frexp(length)
    return np.ldexp(1.0, 1 - e - f - np.frexp(m * n)[1])


def _lengths(columns: np.ndarray) -> tuple[Any, Any]:
    """Largest magnitude of each column, and its length in units of that; 1 and 1 for a column of zeros."""
    largest = np.abs(columns).max(axis=0)
    largest = np.where(largest > 0, largest, 1.0)
    length = np.linalg.norm(columns / largest, axis=0)
    return largest, np.where(length > 0, length, 1.0)


def _residual(A: np.ndarray, x: np.ndarray, b: np.ndarray) -> Any:
    """``||A x - b||``, one a right-hand side."""
    r = A @ x - b
    largest, length = _lengths(r)
    size = np.where(np.abs(r).max(axis=0) > 0, largest * length, 0.0)
    return float(size) if b.ndim == 1 else size


def _refined(
    A: np.ndarray, b: np.ndarray, x: np.ndarray, Q: np.ndarray, R: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """Corrections of x and the residual together, from ``r + A x = b`` and ``A^T r = 0``, while they shrink."""
    r, last = b - A @ x, float("inf")
    rows, columns = np.column_stack([b, -r, -A]), -A.T
    for _ in range(REFINEMENTS):
        rows[:, 1] = -r
        f = _twice_precise(rows, np.concatenate([[1.0, 1.0], x]))
        g = _twice_precise(columns, r)
        d = scipy.linalg.solve_triangular(R, g[order], trans="T", check_finite=False)
        along = Q.T @ f
        step = np.empty_like(x)
        step[order] = scipy.linalg.solve_triangular(R, along - d, check_finite=False)
        size = float(np.linalg.norm(step))
        if not size < last / 2:
            break
        x, r, last = x + step, r + (f - Q @ along + Q @ d), size
    return x


def _twice_precise(A: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``A x`` rounded from about twice the precision (Ogita, Rump and Oishi 2005, algorithm Dot2, summed in pairs)."""
    a1, x1 = _high(A), _high(x)
    a2, x2 = A - a1, x - x1
    p = A * x
    low = (a2 * x2 - (((p - a1 * x1) - a2 * x1) - a1 * x2)).sum(1)
    while p.shape[1] > 1:
        half = p.shape[1] // 2
        left, right, rest = p[:, :half], p[:, half : 2 * half], p[:, 2 * half :]
        total = left + right
        back = total - left
        low += ((left - (total - back)) + (right - back)).sum(1)
        p = np.hstack([total, rest])
    return np.asarray(p[:, 0] + low)


def _high(X: np.ndarray) -> np.ndarray:
    """The upper half of the bits (Dekker 1971)."""
    big = (2.0**27 + 1) * X
    return np.asarray(big - (big - X))


def tikhonov(A: Any, b: Any, damping: float) -> LeastSquares:
    """Solve ``min ||A x - b||^2 + damping^2 ||x||^2`` by the filter factors ``s^2 / (s^2 + damping^2)``.

    Parameters
    ----------
    A : shape (m, n), real or complex
    b : shape (m,) or (m, r)
    damping : float, positive, in units of the singular values

    Returns
    -------
    LeastSquares
        `residual` is ``||A x - b||``; `rank` and `s` are those of A.

    Notes
    -----
    Hansen (1998), "Rank-deficient and discrete ill-posed problems", section 5.1.
    """
    wanted = "positive and finite (lstsq_svd solves without it)"
    check_number("damping", damping, wanted, least=0, open_=True)
    A, b = _system(A, b)
    U, s, Vt = full_svd(A)
    size = np.hypot(s, damping)
    gain = s / size / size  # no squares, which overflow
    x = adjoint(Vt) @ (gain * (adjoint(U) @ b).T).T
    rank = int(np.count_nonzero(s > max(A.shape) * np.finfo(float).eps * s[0]))
    return LeastSquares(x, _residual(A, x, b), rank, s)


def pinv(A: Any, rcond: float | None = None) -> PseudoInverse:
    """Pseudo-inverse by the SVD; singular values up to ``rcond s_1`` (``max(m, n) eps`` by default) count as zero."""
    U, s, Vt, r = _kept(load_dense(as_source(A)), None, rcond)
    return PseudoInverse(adjoint(Vt) @ (adjoint(U) / s[:r, None]), r, s)


def _system(A: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    A, b = load_dense(as_source(A)), np.asarray(unmasked(materialized(b), "b"))
    if b.ndim not in (1, 2) or len(b) != len(A):
        raise ValueError(f"b has shape {b.shape}, where A has {len(A)} rows")
    bad = np.argwhere(~np.isfinite(b))
    if len(bad):
        raise ValueError(
            f"b: {b[tuple(bad[0])]} in row {bad[0][0]} (counted from 0), {len(bad)} not finite; drop them"
        )
    return A, b


def _kept(A: np.ndarray, rank: int | None, rcond: float | None) -> tuple[Any, Any, Any, int]:
    if rcond is not None:
        check_number("rcond", rcond, "from 0 to 1", least=0, most=1)
    if rank is not None:
        check_count("rank", rank)
    U, s, Vt = full_svd(A)
    cut = (max(A.shape) * np.finfo(float).eps if rcond is None else rcond) * s[0]
    r = int(np.count_nonzero(s > cut))
    if rank is not None:
        if not 1 <= rank <= len(s):
            raise ValueError(f"rank {rank} is outside 1 to {len(s)}")
        r = min(r, rank)
    return U[:, :r], s, Vt[:r], r
