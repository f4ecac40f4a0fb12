"""Derivatives of singular values and vectors, forward and backward.

Inner products are ``Re tr(X^H Y)``, so the gradient g of a real function f has ``df = Re tr(g^H dA)``.

Sources: Wan and Zhang 2019 (arXiv 1909.02659) for the phase of complex vectors; Francuz, Schuch and Vanhecke 2025
(Phys. Rev. Research 7, 013237) for what a truncated SVD lacks without the discarded triplets.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.errors import ClusterError

Array = np.ndarray
Triplets = tuple[Array, Array, Array]
EPS = float(np.finfo(np.float64).eps)


def singular_value_gradient(factors: Iterable[Array], i: int) -> Array:
    """Gradient of s_i: ``u_i v_i^H``, shape (m, n), where s_i is simple and positive.

    Parameters
    ----------
    factors : (U, s, Vh), shapes (m, k), (k,), (k, n), float64 or complex128
    i : int

    Raises
    ------
    ClusterError
        Another of the k singular values, or zero, is within ``max(m, n) eps s_1`` of s_i.
    """
    U, s, Vh = factors
    tolerance = max(len(U), Vh.shape[1]) * EPS * s[0]
    others = np.append(np.delete(s, i), 0.0)
    gap = float(np.abs(others - s[i]).min())
    if gap <= tolerance:
        raise ClusterError(f"singular value {i} is {gap / s[0]:.1e} s_1 from the next: it has no gradient")
    return np.outer(U[:, i], Vh[i])


def svd_derivative(
    factors: Iterable[Array], dA: Array, A: Any = None, *, cluster: float | None = None
) -> Triplets:
    """Derivative (dU, ds, dVh) of singular triplets along dA.

    Parameters
    ----------
    factors : (U, s, Vh), shapes (m, k), (k,), (k, n), float64 or complex128
    dA : array, shape (m, n)
    A : array or sparse matrix, shape (m, n), optional
        The matrix itself; needed where k < min(m, n).
    cluster : float, optional
        Singular values closer than this share of s_1 count as one. Their vectors do not turn in each other then,
        which is right for projectors on the space of all of them, and for nothing else. By default close values raise.

    Returns
    -------
    dU, ds, dVh : arrays (m, k), (k,), (k, n)
        Of complex vectors, the phase is shared: ``Im u_i^H du_i = -Im v_i^H dv_i``.

    Raises
    ------
    ClusterError
        A gap below ``max(m, n) eps s_1`` without `cluster`, or none between s_k and s_{k+1}.
    ValueError
        k < min(m, n) without A.

    Notes
    -----
    With ``P = U^H dA V``, H and K its Hermitian and skew parts: ``U^H dU = H_ij/(s_j - s_i) + K_ij/(s_i + s_j)``,
    and the same with a minus for V. No squares of s are taken, which would vanish for s = 1e-200.
    The parts outside of U and V solve one Sylvester equation a triplet, by conjugate gradients.
    """
    problem = _Problem.of(factors, A, cluster)
    dA = dA / problem.scale
    U, V = problem.U, problem.V
    left, right = dA @ V, dA.conj().T @ U
    P = U.conj().T @ left
    H, K = (P + P.conj().T) / 2, (P - P.conj().T) / 2
    turn, twist = problem.gaps * H, problem.sums * K
    X, Y = problem.outside(left, right)
    dU, dV = U @ (turn + twist) + X, V @ (turn - twist) + Y
    return dU, P.diagonal().real * problem.scale, dV.conj().T


def svd_backward(
    factors: Iterable[Array], cotangents: Iterable[Array], A: Any = None, *, cluster: float | None = None
) -> Array:
    """Gradient in A of a real function whose gradients in U, s and Vh are known: the adjoint of `svd_derivative`.

    Parameters
    ----------
    factors, A, cluster
        As in `svd_derivative`; with `cluster` the function may depend on close triplets by their projectors and by
        symmetric functions of their singular values only.
    cotangents : (gU, gs, gVh), shapes of the factors

    Returns
    -------
    gA : array (m, n)

    Raises
    ------
    ClusterError, ValueError
        As `svd_derivative`.
    """
    problem = _Problem.of(factors, A, cluster)
    U, V = problem.U, problem.V
    gU, gs, gVh = cotangents
    gV = gVh.conj().T
    left, right = U.conj().T @ gU, V.conj().T @ gV
    turn, twist = problem.gaps * (left + right) / 2, problem.sums * (left - right) / 2
    gP = turn + turn.conj().T + twist - twist.conj().T + np.diag(gs) * problem.scale
    X, Y = problem.outside(gU, gV)
    return (U @ (gP @ V.conj().T + Y.conj().T) + X @ V.conj().T) / problem.scale


def truncated_svd_backward(
    A: Any, factors: Iterable[Array], cotangents: Iterable[Array], *, cluster: float | None = None
) -> Array:
    """`svd_backward` of the k leading triplets, with what the discarded ones add.

    The vectors kept turn towards those discarded as fast as ``s_{k+1} / s_k`` allows. The usual formula divides the
    parts outside of U and V by s_i instead, which is right only where A has rank k.
    """
    return svd_backward(factors, cotangents, A, cluster=cluster)


def naive_truncated_backward(A: Any, factors: Iterable[Array], cotangents: Iterable[Array]) -> Array:
    """The usual formula from kept triplets alone: wrong unless A has rank k. For demonstration."""
    U, s, Vh = factors
    return svd_backward((U, s, Vh), cotangents, (U * s) @ Vh)


def expected_error(s: Array, shape: tuple[int, int]) -> float:
    """``max(m, n) eps s_1 / gap``: relative error that rounding of A makes in derivatives of singular vectors."""
    gap = float(np.min(-np.diff(s))) if len(s) > 1 else float(s[0])
    return max(shape) * EPS * float(s[0]) / gap if gap > 0 else np.inf


@dataclass(frozen=True)
class _Problem:
    """Factors scaled to s_1 = 1, their inverse gaps and sums, and the equation outside of their spaces."""

    U: Array
    V: Array
    s: Array
    scale: float
    A: Any
    gaps: Array  # 1 / (s_j - s_i), zero within clusters
    sums: Array  # 1 / (s_i + s_j)

    @classmethod
    def of(cls, factors: Iterable[Array], A: Any, cluster: float | None) -> "_Problem":
        U, s, Vh = (np.asarray(factor) for factor in factors)
        m, n, k = len(U), Vh.shape[1], len(s)
        if A is None and k < min(m, n):
            raise ValueError(
                f"{k} of {min(m, n)} triplets: their derivative depends on the others, give A too"
            )
        scale = float(s[0])
        if not scale > 0:
            raise ClusterError("the matrix is zero: its singular vectors have no derivative")
        s = s / scale
        rounding = max(m, n) * EPS
        number = np.concatenate([[0], np.cumsum(-np.diff(s) > max(rounding, cluster or 0.0))])
        same = number[:, None] == number
        if cluster is None and number[-1] + 1 < k:
            i = int(np.argmin(-np.diff(s)))
            gap = s[i] - s[i + 1]
            raise ClusterError(
                f"singular values {i} and {i + 1} differ by {gap:.1e} s_1: their vectors have no derivative to rounding"
            )
        if s[-1] <= rounding and (m != n or k < n or U.dtype.kind == "c"):
            raise ClusterError(f"singular value {k - 1} is {s[-1]:.1e} s_1, zero to rounding")
        with np.errstate(divide="ignore"):
            gaps = np.where(same, 0.0, 1 / np.where(same, 1.0, s - s[:, None]))
            sums = np.where(s + s[:, None] > 0, 1 / (s + s[:, None]), 0.0)
        return cls(U, Vh.conj().T, s, scale, A if k < min(m, n) else None, gaps, sums)

    def outside(self, left: Array, right: Array) -> tuple[Array, Array]:
        """X and Y orthogonal to U and V with ``X S - A Y = left``, ``Y S - A^H X = right`` there.

        The matrix of one triplet, ``[[s_i, -A_c], [-A_c^H, s_i]]`` for A_c of norm s_{k+1} < s_i, is positive definite.
        """
        B = np.vstack([off(self.U, left), off(self.V, right)])
        Z = self._conjugate_gradients(B) if self.A is not None else B / np.where(B.any(axis=0), self.s, 1)
        return Z[: len(self.U)], Z[len(self.U) :]

    def _product(self, Z: Array) -> Array:
        m = len(self.U)
        left, right = self.A @ Z[m:] / self.scale, self.A.conj().T @ Z[:m] / self.scale
        return Z * self.s - np.vstack([off(self.U, left), off(self.V, right)])

    def _conjugate_gradients(self, B: Array) -> Array:
        """All triplets side by side, each with steps of its own (Hestenes and Stiefel 1952)."""
        Z, R, D = np.zeros_like(B), B, B
        energy = _squares(R)
        goal, rounding = energy * EPS**2, max(self.A.shape) * EPS
        for _ in range(4 * len(B) + 20):
            if (energy <= goal).all():
                if (
                    goal < (rounding * EPS) ** 2 * _squares(Z)
                ).any():  # B grew by more than a gap to rounding allows
                    break
                return Z
            image = self._product(D)
            curvature = np.einsum("ij,ij->j", D.conj(), image).real
            if (curvature < 0).any():
                break
            step = np.divide(energy, curvature, out=np.zeros_like(energy), where=curvature > 0)
            Z, R = Z + step * D, R - step * image
            before, energy = energy, _squares(R)
            D = R + np.divide(energy, before, out=np.zeros_like(energy), where=before > 0) * D
        raise ClusterError(f"no gap to rounding between s_{len(self.s)} and the discarded singular values")


def _squares(X: Array) -> Array:
    return np.einsum("ij,ij->j", X.conj(), X).real


def off(B: Array, X: Array) -> Array:
    """The part of X outside of the space of the orthonormal columns of B."""
    return np.zeros_like(X) if B.shape[0] == B.shape[1] else X - B @ (B.conj().T @ X)
