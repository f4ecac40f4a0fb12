"""Least squares and pseudo-inverse of small dense matrices by their SVD."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.linalg.full import full_svd, load_dense
from svdflow.linalg.orthonormal import adjoint
from svdflow.matrix.sources import as_source


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
    """
    A, b = load_dense(as_source(A)), np.asarray(b)
    if b.ndim not in (1, 2) or len(b) != len(A):
        raise ValueError(f"b has shape {b.shape}, where A has {len(A)} rows")
    U, s, Vt, r = _kept(A, rank, rcond)
    along = adjoint(U) @ b
    x = adjoint(Vt) @ (along / (s[:r] if b.ndim == 1 else s[:r, None]))
    residual = np.linalg.norm(A @ x - b, axis=0)
    return LeastSquares(x, float(residual) if b.ndim == 1 else residual, r, s)


def pinv(A: Any, rcond: float | None = None) -> PseudoInverse:
    """Pseudo-inverse by the SVD; singular values up to ``rcond s_1`` (``max(m, n) eps`` by default) count as zero."""
    U, s, Vt, r = _kept(load_dense(as_source(A)), None, rcond)
    return PseudoInverse(adjoint(Vt) @ (adjoint(U) / s[:r, None]), r, s)


def _kept(A: np.ndarray, rank: int | None, rcond: float | None) -> tuple:
    U, s, Vt = full_svd(A)
    cut = (max(A.shape) * np.finfo(float).eps if rcond is None else rcond) * s[0]
    r = int(np.count_nonzero(s > cut))
    if rank is not None:
        if not 1 <= rank <= len(s):
            raise ValueError(f"rank {rank} is outside 1 to {len(s)}")
        r = min(r, rank)
    return U[:, :r], s, Vt[:r], r
