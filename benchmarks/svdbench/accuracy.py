"""Accuracy of factors, by float64 sums over panels that share no code with either side."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse

PANEL_ENTRIES = 2**24  # 128 MB of float64
PROBES, STEPS = 8, 5  # of the block Lanczos process that finds the norm of the residual


@dataclass(frozen=True)
class Factors:
    """U (m, k), s (k,), Vt (k, n), as a side returns them."""

    U: np.ndarray
    s: np.ndarray
    Vt: np.ndarray


@dataclass(frozen=True)
class Accuracy:
    """Figures of one factorization; 0 and 1 are perfect.

    Attributes
    ----------
    pve : float
        ``max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2`` with the true s.
    frobenius, spectral : float
        ``||A - U s Vt||`` over the least that rank k allows. The latter is None where it was not asked for.
    values : float
        ``max_i |s_i - computed s_i| / s_i``.
    orthogonality : float
        ``max |U^H U - I|``.
    """

    pve: float
    frobenius: float
    spectral: float | None
    values: float
    orthogonality: float

    def row(self) -> dict[str, Any]:
        return asdict(self)


def accuracy(
    A: Any, factors: Factors, *, true: np.ndarray, mean: np.ndarray | None = None, spectral: bool = True
) -> Accuracy:
    """Compare factors of rank k with the true singular values, in one pass over A, and five for the spectral norm.

    Parameters
    ----------
    A : array, h5py.Dataset or CSR matrix, shape (m, n)
        Converted to float64 panel by panel.
    factors : Factors
    true : array, at least k + 1 values, descending
        Of A, or of A minus `mean` in every row where that is given.

    Notes
    -----
    The Frobenius residual is ``||A||^2 - 2 tr(s Vt A^H U) + tr(s U^H U s Vt V)``, which supposes nothing of the
    factors. The spectral residual is the largest Ritz value of a block Lanczos process on it, hence from below.
    """
    U, s, V = (np.asarray(x, np.float64) for x in (factors.U, factors.s, factors.Vt.T))
    k = len(s)
    W, norm_squared = np.zeros((A.shape[1], k)), 0.0
    for rows, panel in panels(A, mean):
        W += panel.T @ U[rows]
        entries = panel.data if issparse(panel) else panel.ravel()
        norm_squared += float(entries @ entries)
    gram = U.T @ U
    squares = np.square(true[:k])
    inner = 2 * np.sum(s * np.sum(W * V, axis=0))
    left_over = norm_squared - inner + np.sum(gram * (s[:, None] * (V.T @ V) * s))
    optimum = norm_squared - squares.sum()
    return Accuracy(
        pve=float(np.abs(squares - np.square(W).sum(axis=0)).max() / true[k] ** 2),
        frobenius=float(np.sqrt(max(left_over, 0) / optimum)),
        spectral=residual_norm(A, U, s, V, mean) / float(true[k]) if spectral else None,
        values=float(np.abs(s / true[:k] - 1).max()),
        orthogonality=float(np.abs(gram - np.eye(k)).max()),
    )


def residual_norm(
    A: Any, U: np.ndarray, s: np.ndarray, V: np.ndarray, mean: np.ndarray | None = None
) -> float:
    """``||A - U s V^H||_2`` from below."""
    n, image = A.shape[1], np.random.default_rng(0).standard_normal((A.shape[1], PROBES))
    K, Z = np.empty((n, 0)), np.empty((n, 0))
    for _ in range(min(STEPS, max(1, n // PROBES))):
        # New columns are orthonormal, and orthogonal to those before, also where the process has found everything.
        X = np.linalg.qr(np.hstack([K, image]))[0][:, K.shape[1] :]
        image, back, coefficients = np.zeros_like(X), np.zeros((len(s), X.shape[1])), s[:, None] * (V.T @ X)
        for rows, panel in panels(A, mean):
            Y = panel @ X - U[rows] @ coefficients
            image += panel.T @ Y
            back += U[rows].T @ Y
        image -= V @ (s[:, None] * back)
        K, Z = np.hstack([K, X]), np.hstack([Z, image])
    return float(np.sqrt(np.linalg.eigvalsh(K.T @ Z)[-1].clip(0)))


def panels(A: Any, mean: np.ndarray | None = None) -> Iterator[tuple[slice, Any]]:
    """All rows in float64, a panel at a time."""
    height = max(1, PANEL_ENTRIES * A.shape[0] // A.nnz if issparse(A) else PANEL_ENTRIES // A.shape[1])
    for start in range(0, A.shape[0], height):
        rows = slice(start, min(start + height, A.shape[0]))
        panel = A[rows].astype(np.float64)
        yield rows, panel if mean is None else panel - mean


def rounding_floor(true: np.ndarray, k: int, dtype: Any) -> float:
    """The PVE that factors stored in `dtype` cannot be told from 0 by: ``eps s_1^2 / s_{k+1}^2``.

    A relative error eps of the length of u_1 alone makes so much.
    """
    return float(np.finfo(dtype).eps * (true[0] / true[k]) ** 2)


def truth_shift(norm: float, shape: tuple[int, int], dtype: Any) -> float:
    """How far rounding to `dtype` moves a singular value of a matrix whose entries are spread evenly.

    Entries move by independent ``eps / 2 |a_ij|`` at most, mean square a third of it; the norm of such a matrix is
    near the sum of its largest row and column norm (Bandeira and van Handel 2016), and Weyl's bound is that norm.
    """
    rms = np.finfo(dtype).eps / 2 / np.sqrt(3)
    return float(rms * norm * (shape[0] ** -0.5 + shape[1] ** -0.5))
