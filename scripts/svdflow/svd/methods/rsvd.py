"""Randomized subspace iteration, for comparison: like Krylov with all blocks but the last thrown away."""

import numpy as np

from svdflow.svd.algorithm import DeviationsFirst
from svdflow.svd.orthonormal import extend_basis, orthonormalize
from svdflow.svd.plan import Plan
from svdflow.svd.subspace import Draw, Reader, Subspace


class SubspaceIteration(DeviationsFirst):
    """``rsvd``."""

    reads = 6
    single = True

    def find(self, plan: Plan, reader: Reader, seed: int) -> Subspace:
        """Halko, Martinsson and Tropp 2011, algorithm 4.4, on ``A^H A`` with one fused read a step.

        Oversampling is `block_size` less k, and t reads make t - 2 power iterations.
        """
        draw = Draw(seed, plan.tall.shape[1], plan.wide)
        X = orthonormalize(draw(plan.widths[0]))
        nothing = np.empty((X.shape[0], 0), plan.wide)
        for _ in plan.widths:
            X = extend_basis(nothing, reader.gram_times(X), draw)
        return reader.found(X, "rsvd", "max_reads", exact=False, estimate=np.nan)
