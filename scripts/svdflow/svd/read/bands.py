"""Products of blocks on the smaller side, over bands of rows that run side by side.

Where the matrix is sparse, or its panels are quick, what is left of the time is spent on n x b blocks. Bands have a
fixed height and their sums a fixed order, so bits do not depend on the number of threads.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from svdflow.compute.engine import Engine
from svdflow.svd.orthonormal import Blocks, adjoint

# Rows of a band (chosen: its slice of a block of 64 columns, 1 MB, stays in a core's cache). Bands shape the sums, so
# another value gives other bits.
HEIGHT = 2048


class BandedBlocks(Blocks):
    """`Blocks` of n rows on an engine."""

    def __init__(self, rows: int, engine: Engine) -> None:
        edges = [*range(0, rows, HEIGHT), rows]
        self._bands = [slice(start, stop) for start, stop in pairwise(edges)]
        self._engine = engine

    def inner(self, A: Any, B: Any) -> Any:
        return self._engine.reduce(lambda band: adjoint(A[band]) @ B[band], self._bands, np.add)

    def times(self, A: Any, C: Any) -> Any:
        out = np.empty((A.shape[0], C.shape[1]), np.result_type(A, C), order="F")

        def fill(band: slice) -> int:
            out[band] = A[band] @ C
            return 0

        self._engine.reduce(fill, self._bands, max)
        return out

    def minus(self, X: Any, A: Any, C: Any) -> Any:
        out = np.empty(X.shape, X.dtype, order="F")

        def fill(band: slice) -> int:
            np.subtract(X[band], A[band] @ C, out=out[band])
            return 0

        self._engine.reduce(fill, self._bands, max)
        return out


def blocks_for(rows: int, engine: Engine) -> Blocks:
    """Banded where there is more than one band; on threads of this process, because blocks are not worth sending."""
    return BandedBlocks(rows, engine if engine.shared_memory else Engine()) if rows > HEIGHT else Blocks()
