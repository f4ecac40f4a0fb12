"""Sparse matrices against scikit-learn and the Lanczos solvers of SciPy."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, svds

from svdbench import matrices
from svdbench.accuracy import Factors, accuracy, rounding_floor
from svdbench.contests import OURS, SKLEARN, Equal, Options, Pair, Problem, ours, sklearn_side
from svdbench.timing import Row, Side

SVDS_TOLS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 1e-2, 1e-3, 1e-4, 1e-6, 0)
# Of both at equal error, close enough that neither has to overshoot.
OUR_EQUAL = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6)
SVDS_EQUAL = (0.3, 0.1, 0.05, 0.03, 1e-2, 3e-3, 1e-3, 1e-4)
FLAT_RANK = 10
# What both have to reach, and the ratio that is asked for there.
TARGETS, FLAT_TARGETS = {1e-4: 1.5, 1e-6: 1.5}, {1e-2: 1.0, 1e-4: 1.0, 1e-6: 1.0}
# Full size, size of a test.
SHAPES = {
    "power": ((200_000, 50_000), (3000, 1000)),
    "planted": ((200_000, 50_000), (3000, 1000)),
    "uniform": ((200_000, 50_000), (3000, 1000)),
    "one-hot": ((3000, 7560), (600, 500)),
    "even": ((3000, 2500), (600, 500)),
    "thin": ((15_000, 6000), (1500, 600)),
}
FLAT = ("one-hot", "even", "thin")


def sparse_case(kind: str) -> Callable[[Options], AbstractContextManager[Problem]]:
    """CSR; defaults, and ours and svds at equal PVE."""

    @contextmanager
    def prepare(options: Options) -> Iterator[Problem]:
        shape, flat = options.shape(*SHAPES[kind]), kind in FLAT
        k = FLAT_RANK if flat else options.rank
        A = matrices.sparse_rows(kind, shape)
        key = f"sparse-{kind}-{shape[0]}x{shape[1]}-{k}"
        true = matrices.kept(options.folder, key, lambda: matrices.sparse_truth(A, k + 1))
        own = [ours(A, k, settings) for settings in [{}, *OURS]]
        sklearn = [sklearn_side(A, k, settings) for settings in [{}, *options.sweep(SKLEARN)]]
        lanczos = [
            [
                svds_side(A, k, {"solver": solver, "tol": tol})
                for tol in SVDS_TOLS[:: 3 if options.small else 1]
            ]
            for solver in ("arpack", "propack")
        ]
        equal = [
            ours(A, k, {"tol": tol} | method) for tol in OUR_EQUAL for method in ({}, {"method": "lanczos"})
        ]
        arpack = [svds_side(A, k, {"tol": tol}) for tol in SVDS_EQUAL]
        # propack takes minutes where it takes more than seconds: as it comes it stands beside small matrices alone.
        solvers = [svds_side(A, k, {}), *([svds_side(A, k, {"solver": "propack"})] if flat else [])]
        wanted = FLAT_TARGETS if flat else TARGETS
        yield Problem(
            {
                "columns": kind,
                "shape": shape,
                "rank": k,
                "entries": int(A.nnz),
                "floor": rounding_floor(true, k, np.float32),
            },
            partial(accuracy, A, true=true),
            [
                Pair("default", own[0], sklearn[0], None if flat else 3, None if flat else 3),
                *(Pair("default", own[0], peer) for peer in solvers),
            ],
            equal=Equal(equal, arpack, wanted),
            own=own,
            peers=[sklearn, *lanczos],
        )

    return prepare


def svds_side(A: Any, rank: int, settings: Row) -> Side:
    def run(seed: int) -> Any:
        return svds(A, k=rank, rng=seed, **settings)

    def reads(seed: int) -> int:
        counted = CountedProducts(A)
        svds(counted, k=rank, rng=seed, **settings)
        return counted.count

    def unpack(result: Any) -> Factors:
        U, s, Vt = result
        order = np.argsort(s)[::-1]
        return Factors(U[:, order], s[order], Vt[order])

    solver = settings.get("solver", "arpack")
    shown = {name: value for name, value in settings.items() if name != "solver"}
    return Side(f"SciPy svds({solver})", shown, run, unpack, reads=reads)


class CountedProducts(LinearOperator):
    """A matrix whose products with vectors, or with blocks, are counted: each is a pass over it."""

    def __init__(self, A: Any) -> None:
        super().__init__(A.dtype, A.shape)
        self._A, self._adjoint, self.count = A, A.conj().T, 0

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        self.count += 1
        return self._A @ X

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:
        self.count += 1
        return self._adjoint @ X

    _matvec, _rmatvec = _matmat, _rmatmat
