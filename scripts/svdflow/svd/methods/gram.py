"""``A^H A`` in one read, and its eigenvectors: exact, for a short side of up to a few thousand."""

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.algorithm import Algorithm
from svdflow.svd.costs import gram_in_single
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan, Target
from svdflow.svd.read.square_factors import square_is_enough
from svdflow.svd.subspace import Reader, Subspace, hermitian
from svdflow.svd.widths import last_width

# s_k / s_1 below which squaring costs too many digits, by bytes of a real number, and QR takes over. By squares s_k^2
# is wrong by eps (s_1 / s_k)^2 of it: 2 % at 2.5e-3 in single precision, 2e-4 at 1e-6 in double.
GRAM_FLOOR = {4: 2.5e-3, 8: 1e-6}
# Energy before the means were taken off, over that after it, above which the first panel's means were not those of the
# whole, and A^H A is read anew about the right ones: up to it their difference loses two bits. Of a sparse matrix, from
# which nothing is taken off before products, triplets are then what a last read makes of them.
FAR = 4.0


class GramMatrix(Algorithm):
    """``gram``."""

    # Sums of n x n take longer beside their products than those of n x b: groups of a quarter of the rows took a tenth
    # of the time more for 1000 columns, while 16 cores still find work for each in 200,000 rows (chosen).
    group_height = 5.0
    # Products of 8000 rows of 1000 columns and their sums took 6 % less than of 2000.
    panel_share = 4.0

    def in_single(self, source: MatrixSource, target: Target, tol: float) -> bool:
        return gram_in_single(max(source.shape), min(source.shape), target.rank is None)

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        return (tall.shape[1],)

    def columns(self, plan: Plan) -> int:
        return 2 * plan.tall.shape[1]

    def find(self, plan: Plan, reader: Reader, seed: int) -> Subspace:
        """All of ``A^H A`` in one read; by QR instead where squaring would cost wanted singular values their digits."""
        G = hermitian(reader.gram_times(None))
        far = reader.uncentred > FAR * reader.norm_squared
        if reader.mean is not None and not plan.tall.sparse and far:
            G, far = hermitian(reader.recentred()), False
        values, vectors = np.linalg.eigh(G)
        s = np.sqrt(np.maximum(values[::-1], 0))
        side = min(plan.tall.shape)
        k = plan.target.choose(s[:side], reader.norm_squared) or side
        method = "gram"
        asked = plan.target.error
        floor = GRAM_FLOOR[np.finfo(plan.work).dtype.itemsize]
        exact = plan.work == plan.wide and not far
        if s[k - 1] < floor * s[0] or (asked is not None and asked < floor):
            _, s, Vt = np.linalg.svd(reader.triangle())
            vectors, method = adjoint(Vt)[:, ::-1], "tsqr"
            k, exact = plan.target.choose(s[:side]) or side, True
        width = min(last_width(k), side)
        V = np.ascontiguousarray(vectors[:, ::-1][:, :width])
        spread = float(s[width - 1] / s[0]) if s[0] else 0.0
        captured = float(np.sum(s[:k] ** 2))
        found = reader.found(
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
        found.gram = G if method == "gram" and square_is_enough(plan, found) else None
        return found
