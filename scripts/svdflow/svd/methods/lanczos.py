"""Thick-restart block Lanczos on ``A^H A``, for tight tolerances: a small basis, small blocks, many reads.

The basis K is orthonormal to rounding (full reorthogonalization) and ``Z = A^H A K`` is kept, so Ritz pairs and their
residuals are computed, not inferred from a recurrence. Each read adds a block of residuals of the first wanted Ritz
vectors that are not there yet. Without a preconditioner the residuals span what a Lanczos block would (Morgan and
Scott 1986; Stathopoulos 2007), and a full basis is cut back to its leading Ritz vectors, which loses nothing of the
Krylov structure (Wu and Simon 2000, thick restart). Wanted vectors that converged are no longer expanded but stay in
the basis, which locks them softly.

The first block has more columns than triplets are wanted. A block of b columns alone never sees more than b copies
of a repeated singular value.
"""

import logging

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.algorithm import DeviationsFirst
from svdflow.svd.orthonormal import adjoint, extend_basis, orthonormalize
from svdflow.svd.plan import Plan, Target
from svdflow.svd.subspace import Draw, Reader, Subspace, hermitian
from svdflow.svd.widths import FINAL_EXTRA, FIRST_BLOCK

log = logging.getLogger(__name__)

EPS = float(np.finfo(float).eps)
NOISE = (
    16  # residuals up to this times eps s_1^2 are rounding, and the pair has converged; see svd/stopping.py
)
# Columns multiplied in a read, after the first: 11.4 reads with 8, 7.8 with 16 and so more columns in all, 18.3 with 4,
# where three results of 90 missed their tolerance (benchmarks/results/constants.md).
LANCZOS_BLOCK = 8


def lanczos_columns(rank: int, side: int, block: int = LANCZOS_BLOCK) -> int:
    """Most columns of the Lanczos basis; twice as many n-sized columns are in memory."""
    return min(side, max(2 * rank + 8 * block, rank + 12 * block))


def start_columns(rank: int, side: int, block: int = LANCZOS_BLOCK) -> int:
    """Columns of the first block."""
    return min(side, rank + block)


def lanczos_subspace(
    plan: Plan, reader: Reader, seed: int, *, max_reads: int | None = None, block: int = LANCZOS_BLOCK
) -> Subspace:
    """Right Ritz vectors to a tight tolerance, in memory for `lanczos_columns` twice, and half as much for a while.

    Parameters
    ----------
    plan : Plan
        ``plan.tol`` is met where `estimate` is below it; products must be in double precision.
    reader : Reader
    seed : int
    max_reads : int, optional
        Of the search; by default ``len(plan.widths)``.
    block : int
        Columns multiplied in a read, after the first one.

    Returns
    -------
    Subspace
        Reason ``converged``, ``max_reads`` or ``saturated``. `estimate` is the largest ``min(r, r^2 / gap)`` of the
        first k squared singular values over ``s_{k+1}^2``: r is the norm of the residual, computed; the gap is the
        distance to the first unwanted Ritz value (Kato and Temple). An eigenvalue within r is a theorem; that it is
        the i-th, and the gap, are estimates.
    """
    n, side = plan.tall.shape[1], min(plan.tall.shape)
    draw = Draw(seed, n, plan.wide)
    asked = plan.target.rank or FIRST_BLOCK
    basis = _Basis(n, lanczos_columns(asked, n, block), plan.wide)
    most_reads = max_reads or len(plan.widths)
    X = orthonormalize(draw(start_columns(asked, side, block)))
    first = 0  # wanted pairs before this one had converged when they were last looked at
    while True:
        basis.append(X, reader.gram_times(X))
        reader.refine(basis.K, basis.Z, basis.G)
        k = plan.target.choose(np.sqrt(basis.values), reader.norm_squared)
        if k is None:
            R, worst = basis.Z[:, -X.shape[1] :], np.inf
        else:
            first, R, worst = basis.search(k, first, block, plan.tol)
        log.info("%s: read %d, rank %s, accuracy %.1e", plan.tall.name, reader.reads, k, worst)
        saturated, done = basis.columns >= n, R.shape[1] == 0
        if saturated or done or reader.reads >= most_reads:
            break
        if k is not None and basis.columns + block > lanczos_columns(k, n, block):
            basis.restart(k + (lanczos_columns(k, n, block) - k) // 2)
        X = extend_basis(basis.K, R[:, : n - basis.columns], draw)
    reason = "saturated" if saturated else "converged" if done else "max_reads"
    k = k or min(basis.columns, side)
    V = basis.K @ basis.vectors[:, : min(k + FINAL_EXTRA, basis.columns, side)]
    estimate = 0.0 if saturated else min(float(basis.bounds(0, k, k)[1].max()), 1e300)
    return reader.found(V, "lanczos", reason, exact=saturated, estimate=estimate)


class _Basis:
    """Orthonormal columns K, their images ``Z = A^H A K`` and the Ritz pairs, largest first."""

    def __init__(self, n: int, columns: int, dtype: np.dtype) -> None:
        self._K, self._Z = (np.empty((n, columns), dtype, order="F") for _ in range(2))
        self.columns = 0
        self.G = np.zeros((0, 0), dtype)
        self.values, self.vectors = np.zeros(0), self.G

    @property
    def K(self) -> np.ndarray:
        return self._K[:, : self.columns]

    @property
    def Z(self) -> np.ndarray:
        return self._Z[:, : self.columns]

    def append(self, X: np.ndarray, image: np.ndarray) -> None:
        old, self.columns = self.columns, self.columns + X.shape[1]
        if self.columns > self._K.shape[1]:  # more than was planned: the rank showed late
            self._K = np.concatenate([self._K, np.empty_like(self._K)], axis=1)
            self._Z = np.concatenate([self._Z, np.empty_like(self._Z)], axis=1)
        self.K[:, old:], self.Z[:, old:] = X, image
        G = np.empty((self.columns, self.columns), self.K.dtype)
        G[:old, :old] = self.G
        G[:, old:] = adjoint(self.K) @ image
        G[old:, :old] = adjoint(G[:old, old:])
        self.G = hermitian(G)
        values, vectors = np.linalg.eigh(self.G)
        self.values, self.vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]

    def restart(self, keep: int) -> None:
        """Cut the basis back to its leading Ritz vectors."""
        P = self.vectors[:, :keep]
        self._K[:, :keep] = self.K @ P
        self._Z[:, :keep] = self.Z @ P
        self.columns = keep
        self.values, self.vectors = self.values[:keep], np.eye(keep, dtype=P.dtype)
        self.G = np.diag(self.values).astype(P.dtype)

    def bounds(self, start: int, stop: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Residuals of Ritz pairs ``start:stop``, and how wrong these may be over ``s_{k+1}^2``."""
        P, theta = self.vectors[:, start:stop], self.values[start:stop]
        R = self.Z @ P - self.K @ (P * theta)
        r = np.linalg.norm(R, axis=0)
        following = self.values[min(k, self.columns - 1)]
        gap = theta - following
        errors = np.where(r < gap, r**2 / np.where(gap > 0, gap, 1), r)
        errors[r <= NOISE * EPS * self.values[0]] = 0  # nothing better can be had
        return R, np.divide(errors, following, out=np.where(errors > 0, np.inf, 0.0), where=following > 0)

    def search(self, k: int, first: int, block: int, tol: float) -> tuple[int, np.ndarray, float]:
        """Residuals of the first `block` pairs that have not converged; none where all k have.

        Looks from the pair `first` on, and at those before it again before all are believed.
        """
        found: list[np.ndarray] = []
        lowest, worst, wanted = k, 0.0, 0
        for start in [*range(first, k, block), *range(0, first, block)]:
            R, errors = self.bounds(start, min(start + block, k), k)
            bad = np.flatnonzero(errors > tol)
            if len(bad):
                lowest, worst = min(lowest, start + int(bad[0])), max(worst, float(errors.max()))
                found.append(R[:, bad])
                wanted += len(bad)
            if wanted >= block:
                break
        if not found:
            return k, self.K[:, :0], worst
        more = (
            self.bounds(k, min(k + block - wanted, self.columns), k)[0] if wanted < block else self.K[:, :0]
        )
        return lowest, np.concatenate([*found, more], axis=1)[:, :block], worst


class ThickRestartLanczos(DeviationsFirst):
    """``lanczos``."""

    reads = 500

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        first = start_columns(target.rank or FIRST_BLOCK, min(tall.shape))
        return (first, *(LANCZOS_BLOCK,) * ((max_reads or self.reads) - 2))

    def columns(self, plan: Plan) -> int:
        return 3 * lanczos_columns(plan.target.rank or FIRST_BLOCK, plan.tall.shape[1])

    def with_deviations_read(self, plan: Plan) -> Plan:
        """The search counts all reads itself, so the plan stays; it has to leave one."""
        super().with_deviations_read(plan)
        return plan

    def find(self, plan: Plan, reader: Reader, seed: int) -> Subspace:
        return lanczos_subspace(plan, reader, seed, block=LANCZOS_BLOCK)
