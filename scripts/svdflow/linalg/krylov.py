"""Block Krylov on the smaller side, one fused read a step.

Each step reads A once, panel by panel: ``Y_i = A_i X``, ``Z += A_i^H Y_i``. With all blocks kept in an orthonormal
basis K and ``Z = A^H A K``, the projected matrix ``G = K^H Z = (A K)^H (A K)`` needs nothing of the longer side. Musco
and Musco 2015 (block Krylov), Tropp and Webber 2023 (arXiv 2306.12418, sections 4 and 5); the fused read is in PerSVD
(Feng et al. 2023) and Lu et al. 2020.
"""

import logging
from functools import partial

import numpy as np

from svdflow.linalg.orthonormal import adjoint, extend_basis, orthonormalize
from svdflow.linalg.plan import FINAL_EXTRA, Plan
from svdflow.linalg.random import gaussian
from svdflow.linalg.subspace import Draw, Reader, Subspace, hermitian

log = logging.getLogger(__name__)

SLOWEST = 0.95  # rate of convergence that the stopping test reckons with
NOISE = 16  # times eps s_1^2: changes of squared Ritz values that rounding makes


def krylov_subspace(plan: Plan, reader: Reader, seed: int) -> Subspace:
    n, most = plan.tall.shape[1], min(plan.tall.shape)
    draw = Draw(seed, n, plan.wide)
    K = np.empty((n, sum(plan.widths)), plan.wide, order="F")
    Z = np.empty_like(K)
    G = np.zeros((0, 0), plan.wide)
    X = orthonormalize(draw(plan.widths[0]))
    before, change = np.zeros(0), np.inf
    for step, width in enumerate(plan.widths):
        used = G.shape[0]
        columns = slice(used, used + width)
        K[:, columns] = X
        Z[:, columns] = reader.gram_times(X)
        basis, image = K[:, : columns.stop], Z[:, : columns.stop]
        G = _bordered(G, adjoint(basis) @ image[:, columns])
        values, vectors = np.linalg.eigh(hermitian(G))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        k = plan.target.choose(np.sqrt(values), reader.norm_squared)
        last, change = change, _largest_change(values, before, k)
        estimate = _estimate(values, change, last, k)
        log.info("%s: read %d, rank %s, estimated accuracy %.1e", plan.tall.name, reader.reads, k, estimate)
        saturated = columns.stop >= most
        done = estimate <= plan.tol or _settled(plan, values, change, k)
        if saturated or done:
            break
        if step + 1 < len(plan.widths):
            X = _next_block(basis, image[:, columns], plan.widths[step + 1], draw)
        before = values
    reason = "saturated" if saturated else "converged" if done else "max_reads"
    k = k or columns.stop
    estimate = 0.0 if saturated else min(estimate, 1e300)
    V = ritz_vectors(basis, image, values, vectors, min(k + FINAL_EXTRA, columns.stop, most), _eps(plan))
    return reader.found(V, "krylov", reason, exact=saturated and n <= columns.stop, estimate=estimate)


def ritz_vectors(
    K: np.ndarray, Z: np.ndarray, values: np.ndarray, vectors: np.ndarray, width: int, eps: float
) -> np.ndarray:
    """Right Ritz vectors of A from the basis K, its image ``Z = A^H A K`` and the eigenpairs of ``K^H Z``.

    For squared Ritz values theta above rounding, ``B^H = Z P theta^{-1/2}`` is ``A^H`` times an orthonormal basis of
    ``A K``, and its left singular vectors are half a step better than ``K P`` (Tropp and Webber 2023, section 5.2).
    Below rounding the division would amplify noise, and ``K P`` itself is taken.
    """
    clear = np.count_nonzero(values > 1e4 * eps * len(values) * values[0])
    P = vectors[:, : min(clear, 2 * width)]
    if P.shape[1] == 0:
        return K @ vectors[:, :width]
    B_adjoint = Z @ (P / np.sqrt(values[: P.shape[1]]))
    Q, R = np.linalg.qr(B_adjoint)
    V = (Q @ np.linalg.svd(R)[0])[:, :width]
    if V.shape[1] == width:
        return V
    rest = K @ vectors[:, clear:]
    return np.concatenate(
        [V, extend_basis(V, rest, partial(_no_more, rest))[:, : width - V.shape[1]]], axis=1
    )


def _no_more(rest: np.ndarray, count: int) -> np.ndarray:
    """Replacement columns where Ritz vectors coincide: any will do, they stand for singular values of 0."""
    return gaussian(0, rest.shape[0], count, dtype=rest.dtype, first_column=2**20)


def _next_block(K: np.ndarray, image: np.ndarray, width: int, draw: Draw) -> np.ndarray:
    """The newest image, made orthogonal to the basis; fresh random columns where the block is to be wider."""
    X = image[:, :width]
    if width > X.shape[1]:
        X = np.concatenate([X, draw(width - X.shape[1])], axis=1)
    return extend_basis(K, X, draw)


def _bordered(G: np.ndarray, new: np.ndarray) -> np.ndarray:
    """G with the new columns ``K^H Z_new``, and their adjoint as new rows."""
    old = G.shape[0]
    out = np.empty((new.shape[0], new.shape[0]), new.dtype)
    out[:old, :old] = G
    out[:, old:] = new
    out[old:, :old] = adjoint(new[:old])
    return out


def _eps(plan: Plan) -> float:
    return float(np.finfo(plan.work).eps)


def _largest_change(values: np.ndarray, before: np.ndarray, k: int | None) -> float:
    """Largest move of the first k squared Ritz values since the last read; infinite while there was none."""
    if k is None or len(before) < k:
        return np.inf
    return float(np.max(np.abs(values[:k] - before[:k])))


def _estimate(values: np.ndarray, change: float, last: float, k: int | None) -> float:
    """Estimated error of the first k squared Ritz values over ``s_{k+1}^2``.

    The change stands for the error one step earlier. Where changes shrink slowly, what is still to come may exceed the
    last one: rho / (1 - rho) of it as of a geometric series, and that twice, because rho itself wavers.
    """
    if k is None or not np.isfinite(change):
        return np.inf
    following = values[k] if k < len(values) else values[-1]
    if following <= 0:
        return 0.0 if change == 0 else np.inf
    rho = min(change / last, SLOWEST) if 0 < last < np.inf else 0.0
    return change / following * max(1.0, 2 * rho / (1 - rho))


def _settled(plan: Plan, values: np.ndarray, change: float, k: int | None) -> bool:
    """Whether rounding is all that still moves the values (exactly low rank, or a tolerance below rounding)."""
    return k is not None and change <= NOISE * _eps(plan) * values[0]
