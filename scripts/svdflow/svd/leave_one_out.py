"""What a sketch tells of its own error: each column of the test matrix is a fresh sample for the others.

Epperly and Tropp 2022, "Efficient error and variance estimation for randomized matrix computations" (arXiv 2207.06342).
"""

import numpy as np

from svdflow.svd.orthonormal import adjoint

EPS = float(np.finfo(float).eps)
# Columns left out by the jackknife, one an eigenproblem of the sketch's size. The columns of the test matrix are
# exchangeable, so any of them will do; fewer make the estimate scatter more, about by 1 / sqrt(2 * 32) of it.
# tests/unit/test_single_pass.py holds its mean against the scatter over seeds.
REPLICATES = 32


def leave_one_out(S: np.ndarray, Ph: np.ndarray) -> float:
    """Estimated ``||A - Q Q^H A||_F^2`` for Q of one column less than ``Y = A Omega = Q R`` has.

    What the others leave of the j-th column of Y is the error of a sketch that is independent of it, times a Gaussian
    vector. Its square is ``1 / ||row_j(R^{-1})||^2`` (Epperly and Tropp 2022, arXiv 2207.06342).

    Parameters
    ----------
    S, Ph : arrays, shape (l,) and (l, l)
        Of the singular value decomposition of R, or fewer where Y has fewer rows than columns.
    """
    if len(S) < Ph.shape[1] or S[0] == 0:
        return 0.0
    rows = np.abs(Ph.T) / np.maximum(S, EPS * S[0])
    return float(np.mean(1 / np.sum(rows**2, axis=1)))


def jackknife(S: np.ndarray, Ph: np.ndarray, s: np.ndarray, turn: np.ndarray, k: int) -> float:
    """Estimated ``(E ||X - E X||_F^2)^{1/2}`` over test matrices, for the approximation X of rank k.

    Each replicate leaves one column of Omega out, that is, one direction ``t_j ~ R^{-H} e_j`` of the range. In the
    bases of U and V it is ``(I - a a^H) diag(s)``, cut to rank k. On average it is no underestimate (Efron and Stein;
    Epperly and Tropp 2022). 0 where Y does not have full rank: then no single column matters.
    """
    l = Ph.shape[1]
    if len(s) < l or l < 2:
        return 0.0
    count = min(REPLICATES, l)
    directions = Ph[:, :count] / S[:, None]
    moved = np.zeros((l, l), Ph.dtype)
    total = 0.0
    for a in (turn @ (directions / np.linalg.norm(directions, axis=0))).T:
        sa = s * a
        W = np.linalg.eigh(np.diag(s**2) - np.outer(sa, sa.conj()))[1][:, l - k :]
        change = (np.diag(s) - np.outer(a, sa.conj())) @ W @ adjoint(W)
        change[np.arange(k), np.arange(k)] -= s[:k]
        moved += change / count
        total += float(np.sum(np.abs(change) ** 2))
    spread = max(0.0, total - count * float(np.sum(np.abs(moved) ** 2)))
    return float((spread * (l - 1) / (count - 1)) ** 0.5)
