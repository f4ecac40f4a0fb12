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
    claimed : float
        ``max_i |computed s_i - ||A^H u_i||| / s_1``: values that do not belong to their own vectors.
    """

    pve: float
    frobenius: float
    spectral: float | None
    values: float
    orthogonality: float
    claimed: float

    def row(self) -> dict[str, Any]:
        return asdict(self)


def accuracy(
    A: Any, factors: Factors, *, true: np.ndarray, mean: np.ndarray | None = None, spectral: bool = True
) -> Accuracy:
    """Compare factors of rank k with the true singular values, in one pass over A, and five for the spectral norm.

    Parameters
    ----------
    A : array, h5py.Dataset or CSR matrix, shape (m, n)
        Real or complex; converted to float64 or complex128 panel by panel.
    factors : Factors
    true : array, at least k + 1 values, descending
        Of A, or of A minus `mean` in every row where that is given.

    Notes
    -----
    The Frobenius residual is ``||A||^2 - 2 tr(s Vt A^H U) + tr(s U^H U s Vt V)``, which supposes nothing of the
    factors. The spectral residual is the largest Ritz value of a block Lanczos process on it, hence from below.
    """
    U, s, V = _wide(factors.U), np.asarray(factors.s, np.float64), _wide(factors.Vt).conj().T
    k = len(s)
    W, norm_squared = 0.0, 0.0
    for rows, panel in panels(A, mean):
        W = W + panel.conj().T @ U[rows]
        entries = panel.data if issparse(panel) else panel.ravel()
        norm_squared += float(np.vdot(entries, entries).real)
    gram = U.conj().T @ U
    squares, lengths = np.square(true[:k]), _squared_lengths(W)
    inner = 2 * np.sum(s * np.sum(W.conj() * V, axis=0).real)
    left_over = norm_squared - inner + np.sum(gram * (s[:, None] * (V.conj().T @ V).T * s)).real
    optimum = norm_squared - squares.sum()
    return Accuracy(
        pve=_values_error(lengths, true),
        frobenius=float(np.sqrt(max(left_over, 0) / optimum)),
        spectral=residual_norm(A, U, s, V, mean) / float(true[k]) if spectral else None,
        values=float(np.abs(s / true[:k] - 1).max()),
        orthogonality=float(np.abs(gram - np.eye(k)).max()),
        claimed=float(np.abs(s - np.sqrt(lengths)).max() / true[0]),
    )


def values_error(A: Any, U: np.ndarray, true: np.ndarray) -> float:
    """The PVE of left vectors alone, in one pass; arguments as of `accuracy`."""
    U, W = _wide(U), 0.0
    for rows, panel in panels(A):
        W = W + panel.conj().T @ U[rows]
    return _values_error(_squared_lengths(W), true)


def _values_error(lengths: np.ndarray, true: np.ndarray) -> float:
    k = len(lengths)
    return float(np.abs(np.square(true[:k]) - lengths).max() / true[k] ** 2)


def _squared_lengths(W: Any) -> np.ndarray:
    """Of the columns."""
    return np.asarray(np.sum(W.real**2 + W.imag**2, axis=0))


def _wide(X: Any) -> np.ndarray:
    return np.asarray(X, np.complex128 if np.iscomplexobj(X) else np.float64)


def residual_norm(
    A: Any, U: np.ndarray, s: np.ndarray, V: np.ndarray, mean: np.ndarray | None = None
) -> float:
    """``||A - U s V^H||_2`` from below."""
    n, image = A.shape[1], np.random.default_rng(0).standard_normal((A.shape[1], PROBES))
    K, Z = np.empty((n, 0)), np.empty((n, 0))
    for _ in range(min(STEPS, max(1, n // PROBES))):
        # New columns are orthonormal, and orthogonal to those before, also where the process has found everything.
        X = np.linalg.qr(np.hstack([K, image]))[0][:, K.shape[1] :]
        image, back, coefficients = 0.0, 0.0, s[:, None] * (V.conj().T @ X)
        for rows, panel in panels(A, mean):
            Y = panel @ X - U[rows] @ coefficients
            image = image + panel.conj().T @ Y
            back = back + U[rows].conj().T @ Y
        image = image - V @ (s[:, None] * back)
        K, Z = np.hstack([K, X]), np.hstack([Z, image])
    return float(np.sqrt(np.linalg.eigvalsh(K.conj().T @ Z)[-1].clip(0)))


def panels(A: Any, mean: np.ndarray | None = None) -> Iterator[tuple[slice, Any]]:
    """All rows in float64, a panel at a time."""
    height = max(1, PANEL_ENTRIES * A.shape[0] // A.nnz if issparse(A) else PANEL_ENTRIES // A.shape[1])
    for start in range(0, A.shape[0], height):
        rows = slice(start, min(start + height, A.shape[0]))
        panel = A[rows]
        panel = panel.astype(np.result_type(panel.dtype, np.float64))
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
