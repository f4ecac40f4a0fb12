"""``A^H A`` in one read, and its eigenvectors: exact, for a short side of up to a few thousand."""

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.algorithm import Algorithm
from svdflow.svd.costs import gram_in_single
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan, Target
from svdflow.svd.subspace import Reader, Subspace, hermitian
from svdflow.svd.widths import last_width

# s_k / s_1 below which squaring costs too many digits, by bytes of a real number, and QR takes over. By squares s_k^2
# is wrong by eps (s_1 / s_k)^2 of it: 2 % at 2.5e-3 in single precision, 2e-4 at 1e-6 in double.
GRAM_FLOOR = {4: 2.5e-3, 8: 1e-6}


class GramMatrix(Algorithm):
    """``gram``."""

    def in_single(self, source: MatrixSource, target: Target) -> bool:
        return gram_in_single(max(source.shape), min(source.shape), target.rank is None)

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        return (tall.shape[1],)

    def columns(self, plan: Plan) -> int:
        return 2 * plan.tall.shape[1]

    def find(self, plan: Plan, reader: Reader, seed: int) -> Subspace:
        """All of ``A^H A`` in one read; by QR instead where squaring would cost wanted singular values their digits."""
        values, vectors = np.linalg.eigh(hermitian(reader.gram_times(None)))
        s = np.sqrt(np.maximum(values[::-1], 0))
        side = min(plan.tall.shape)
        k = plan.target.choose(s[:side], reader.norm_squared) or side
        method = "gram"
        asked = plan.target.error
        floor = GRAM_FLOOR[np.finfo(plan.work).dtype.itemsize]
        exact = plan.work == plan.wide
        if s[k - 1] < floor * s[0] or (asked is not None and asked < floor):
            _, s, Vt = np.linalg.svd(reader.triangle())
            vectors, method = adjoint(Vt)[:, ::-1], "tsqr"
            k, exact = plan.target.choose(s[:side]) or side, True
        width = min(last_width(k), side)
        V = np.ascontiguousarray(vectors[:, ::-1][:, :width])
        spread = float(s[width - 1] / s[0]) if s[0] else 0.0
        captured = float(np.sum(s[:k] ** 2))
        return reader.found(
            V,
            method,
            "converged",
            exact=exact,
            rank=k,
            spectrum=s[:side],
            captured=captured,
            spread=spread,
            sharp=method == "tsqr",
        )
