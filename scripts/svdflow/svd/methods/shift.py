"""Subspace iteration with dynamic shifts: one block on the smaller side, where memory is short.

Each step reads A once, ``Z = A^H A Q``, and goes on with ``orth(Z - a Q)``. As long as ``a <= s_l^2 / 2``, unwanted
directions fade by ``(s_j^2 - a) / (s_i^2 - a)`` instead of ``s_j^2 / s_i^2``, and the shift may grow as the block comes
closer (dashSVD: Feng, Yu, Xie and Tang 2024, arXiv 2404.09276). What was read last is used twice, for the shift and for
Ritz vectors half a step better than Q, so t reads make the power 2t - 1 (PerSVD: Feng et al. 2023).
"""

import logging
from functools import reduce

import numpy as np

from svdflow.svd.algorithm import DeviationsFirst
from svdflow.svd.orthonormal import adjoint, extend_basis, orthonormalize
from svdflow.svd.plan import Plan
from svdflow.svd.read.panel_work import triangle
from svdflow.svd.stopping import NOISE
from svdflow.svd.subspace import Draw, Reader, Subspace, hermitian
from svdflow.svd.widths import FINAL_EXTRA

log = logging.getLogger(__name__)

EPS = float(np.finfo(float).eps)
# What other values of CLEAR, SHIFT_ROUNDS, SLOWEST and of the slacks do: benchmarks/results/constants.md.

# Ritz values above CLEAR l eps theta_1 take part in the half step, which divides by their roots. From 1 to 1e8
# nothing there changes.
CLEAR = 1e4
BAND = (
    4096  # rows of a residual that are triangularized at a time, to save memory; they shape the sum (chosen)
)
# Times that the shift may rise within one read; it ends before where it settles, which is within five.
SHIFT_ROUNDS = 20
# Rate of convergence at most that the estimate reckons with: a geometric series still adds rate / (1 - rate) times its
# last gain, 19 times here.
SLOWEST = 0.95
# Factors by which the bound by residuals is raised, without and with the gain of the half step taken off: over seven
# spectra and three widths it was at least 0.5 and 0.15 of the truth. At 0.5 and at 1
# a result of 84 missed its tolerance; at 8 and 64 searches took up to 1.5 reads more of 8.3.
SLACK, HALF_STEP_SLACK = 2.0, 8.0


def shift_subspace(plan: Plan, reader: Reader, seed: int) -> Subspace:
    """Right Ritz vectors by dynamically shifted subspace iteration, in about 6 n l numbers at the peak.

    Parameters
    ----------
    plan : Plan
        ``plan.widths[0]`` is the block width l, ``len(plan.widths)`` the most reads. A block in which the target rank
        does not show is doubled.
    reader : Reader
    seed : int

    Returns
    -------
    Subspace
        Reason ``converged``, ``max_reads`` or ``saturated`` (the block is the whole space). `estimate` is of the first
        k squared singular values, and of those only.
    """
    n, most = plan.tall.shape[1], min(plan.tall.shape)
    draw = Draw(seed, n, plan.wide)
    nothing = np.empty((n, 0), plan.wide)
    Q = orthonormalize(draw(min(plan.widths[0], most)))
    shift, before, estimate, last = 0.0, np.zeros(0), np.inf, len(plan.widths) - 1
    for step in range(len(plan.widths)):
        Z = reader.gram_times(Q)
        G = hermitian(adjoint(Q) @ Z)
        reader.refine(Q, Z, G)
        theta, P = np.linalg.eigh(G)
        theta, P = np.maximum(theta[::-1], 0), P[:, ::-1]
        R = _residual_triangle(Q, Z, G)
        s2, turned = _half_step_better(theta, P, R)
        k = plan.target.choose(np.sqrt(s2), reader.norm_squared)
        estimate = _estimate(theta, np.linalg.norm(R @ P, axis=0), s2, before, shift, k)
        log.info("%s: read %d, rank %s, estimated accuracy %.1e", plan.tall.name, reader.reads, k, estimate)
        saturated = Q.shape[1] >= most
        done = estimate <= plan.tol or _settled(plan, s2, before, k)
        if saturated or done or step == last:
            break
        shift, before = _raised(shift, G, R), s2
        Q *= shift
        Z = Z - Q
        if k is None:
            Z = np.concatenate([Z, draw(min(Z.shape[1], most - Z.shape[1]))], axis=1)
            shift = 0.0
        Q = extend_basis(nothing, Z, draw)
    reason = "saturated" if saturated else "converged" if done else "max_reads"
    width = min((k or len(theta)) + FINAL_EXTRA, len(theta))
    # Columns beyond `turned` stand for singular values that rounding hides.
    V = np.concatenate([Z @ turned, Q @ P[:, turned.shape[1] :]], axis=1)[:, :width]
    V = extend_basis(nothing, V, draw)
    estimate = 0.0 if saturated else min(estimate, 1e300)
    captured = float(s2[:k].sum())
    exact = saturated and n <= len(theta)
    return reader.found(V, "shift", reason, exact=exact, estimate=estimate, captured=captured)


def _residual_triangle(Q: np.ndarray, Z: np.ndarray, G: np.ndarray) -> np.ndarray:
    """R of ``Z = [Q, W] [G; R]``, where W is orthonormal and orthogonal to Q; by bands of rows, to save memory."""
    bands = [slice(start, start + BAND) for start in range(0, len(Q), BAND)]
    return reduce(triangle, (triangle(Z[rows] - Q[rows] @ G) for rows in bands))


def _half_step_better(theta: np.ndarray, P: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values of A^H times an orthonormal basis of ``A Q``, and T so that ``Z T`` are their vectors.

    ``B^H = Z P theta^{-1/2}`` where theta stands above rounding; in the basis of Q P and W it is small. The other
    values stay as they are.
    """
    clear = theta > CLEAR * EPS * len(theta) * theta[0]
    if not clear.any():
        return theta, P[:, :0]
    root = np.sqrt(theta[clear])
    scaled = P[:, clear] / root
    _, s, turn = np.linalg.svd(np.concatenate([np.diag(root), R @ scaled]), full_matrices=False)
    return np.concatenate([s**2, theta[len(s) :]]), scaled @ adjoint(turn) / s


def _raised(shift: float, G: np.ndarray, R: np.ndarray) -> float:
    """The largest shift that what was read proves to be at most ``s_l^2 / 2``.

    For ``a <= s_l^2 / 2`` the least singular value of ``(A^H A - a) Q`` is at most ``s_l^2 - a``. So a may rise to half
    of the sum of both, again and again (dashSVD; PerSVD does it within one read).
    """
    eye = np.eye(len(G))
    for _ in range(SHIFT_ROUNDS):
        least = float(np.linalg.svd(np.concatenate([G - shift * eye, R]), compute_uv=False)[-1])
        if least <= 1.01 * shift:
            break
        shift = (shift + least) / 2
    return shift


def _estimate(
    theta: np.ndarray, residuals: np.ndarray, s2: np.ndarray, before: np.ndarray, shift: float, k: int | None
) -> float:
    """Estimated error of the first k squared singular values over ``s_{k+1}^2``; infinite where nothing is known.

    Two views, of which the worse counts. A Ritz value theta is wrong by about ``r^2 / (theta - nu)`` (Kato and Temple),
    where r is the norm of its residual and nu the largest eigenvalue outside of the block, for which the least Ritz
    value stands. And what moved since the last read goes on moving as a geometric series does. Neither sees a
    direction that the block has hardly met, so the first read never stops.
    """
    if k is None or len(before) < k:
        return np.inf
    following, nu = s2[min(k, len(s2) - 1)], theta[-1]
    r, gap = residuals[:k], theta[:k] - nu
    bounds = np.where(r < gap, r**2 / np.where(gap > 0, gap, 1), r)
    slack = np.minimum(SLACK, HALF_STEP_SLACK * nu / np.where(theta[:k] > 0, theta[:k], 1))
    change = np.abs(s2[:k] - before[:k]).max()
    rho = min(((nu - shift) / (s2[k - 1] - shift)) ** 2, SLOWEST) if s2[k - 1] > shift else SLOWEST
    error = max((slack * bounds).max(), change * rho / (1 - rho))
    if following <= NOISE * EPS * s2[0]:  # the wanted values are all there are
        return 0.0 if error <= NOISE * EPS * s2[0] else np.inf
    return float(error / following)


def _settled(plan: Plan, s2: np.ndarray, before: np.ndarray, k: int | None) -> bool:
    """Whether rounding is all that still moves the values (exactly low rank, or a tolerance below rounding)."""
    if k is None or len(before) < k:
        return False
    return bool(np.abs(s2[:k] - before[:k]).max() <= NOISE * np.finfo(plan.work).eps * s2[0])


class ShiftedIteration(DeviationsFirst):
    """``shift``."""

    reads = 40
    single = True

    def find(self, plan: Plan, reader: Reader, seed: int) -> Subspace:
        return shift_subspace(plan, reader, seed)
