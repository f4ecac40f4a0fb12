"""The search for right singular subspaces: what every method shares, and what it finds."""

from dataclasses import dataclass

import numpy as np

from svdflow.engine import Engine
from svdflow.linalg.orthonormal import adjoint
from svdflow.linalg.panelwork import FusedRead, Panels, Sums, TriangularRead, triangle
from svdflow.linalg.plan import Plan
from svdflow.linalg.random import gaussian
from svdflow.matrix.panels import NonFiniteError

SAFE_SUM = (1e-200, 1e200)  # of squares; outside, the matrix is scaled by a power of two and read again
SAFE_SINGLE = (1e-40, 1e60)  # where products are in float32
LARGEST_POWER = {
    4: 100,
    8: 1000,
}  # of two, by bytes of a real number: the scale itself must be finite and normal


@dataclass
class Subspace:
    """Right Ritz vectors `V` (n, l) of the tall matrix, and what the reads told on the way.

    All figures are of the matrix times `panels.scale`. `norm_squared` came from `uncentred` by a difference of sums
    where the mean was taken off so. `mean` is what is left of the column means after
    `panels.shift`.
    """

    panels: Panels
    V: np.ndarray
    method: str
    reads: int
    reason: str
    exact: bool
    norm_squared: float
    uncentred: float
    mean: np.ndarray | None
    row_means: np.ndarray | None
    estimate: float = 0.0
    spectrum: np.ndarray | None = None
    rank: int | None = None  # where all singular values were known to choose it by


def unit_scale(peak: float, dtype: np.dtype) -> float:
    """A power of two that brings entries of magnitude `peak` near one, as near as `dtype` can hold the power."""
    most = LARGEST_POWER[np.finfo(dtype).dtype.itemsize]
    return 2.0 ** float(np.clip(-np.floor(np.log2(peak)), -most, most))


class Reader:
    """Counts reads, keeps what the first one told, and takes the mean off every product."""

    def __init__(self, plan: Plan, panels: Panels, engine: Engine) -> None:
        self.plan, self.panels, self.engine = plan, panels, engine
        self.reads = 0
        self.norm_squared = self.uncentred = 0.0
        self.mean: np.ndarray | None = None
        self.row_means: np.ndarray | None = None

    def gram_times(self, X: np.ndarray | None) -> np.ndarray:
        """``A^H A X``, or ``A^H A`` without X, of the centred matrix."""
        if self.reads:
            return self._centred(self._read(X, first=False).product, X)
        sums = self._read(X, first=True)
        low, high = SAFE_SINGLE if self.plan.work.itemsize < self.plan.wide.itemsize else SAFE_SUM
        if sums.peak > 0 and not low < sums.norm_squared < high:
            self.panels = self.panels.rescaled(unit_scale(sums.peak, self.plan.work))
            sums = self._read(X, first=True)
        self.norm_squared, self.uncentred, self.row_means = sums.norm_squared, sums.uncentred, sums.row_means
        if sums.column_sums is not None:
            m = self.plan.tall.shape[0]
            self.mean = sums.column_sums / m
            # ||A - 1 mu^T||^2 = ||A||^2 - m |mu|^2
            self.norm_squared = max(0.0, sums.norm_squared - m * float(np.vdot(self.mean, self.mean).real))
        return self._centred(sums.product, X)

    def triangle(self) -> np.ndarray:
        """R of a QR factorization of the centred matrix."""
        self.reads += 1
        return self.engine.reduce(TriangularRead(self.panels, self.mean), self.plan.groups, triangle)

    def found(self, V: np.ndarray, method: str, reason: str, *, exact: bool, **more) -> Subspace:
        return Subspace(
            self.panels,
            V,
            method,
            self.reads,
            reason,
            exact,
            self.norm_squared,
            self.uncentred,
            self.mean,
            self.row_means,
            **more,
        )

    def _read(self, X: np.ndarray | None, *, first: bool) -> Sums:
        self.reads += 1
        sums = self.engine.reduce(FusedRead(self.panels, X, first), self.plan.groups, Sums.plus)
        if sums.non_finite is not None:
            raise NonFiniteError(sums.non_finite)
        return sums

    def _centred(self, Z: np.ndarray, X: np.ndarray | None) -> np.ndarray:
        if self.mean is None:
            return Z
        # (A - 1 mu^T)^H (A - 1 mu^T) = A^H A - m conj(mu) mu^T
        mean_X = self.mean if X is None else self.mean @ X
        return Z - self.plan.tall.shape[0] * np.outer(self.mean.conj(), mean_X)


class Draw:
    """Successive columns of the seed's test matrix."""

    def __init__(self, seed: int, rows: int, dtype: np.dtype) -> None:
        self._seed, self._rows, self._dtype, self._drawn = seed, rows, dtype, 0

    def __call__(self, columns: int) -> np.ndarray:
        out = gaussian(self._seed, self._rows, columns, first_column=self._drawn, dtype=self._dtype)
        self._drawn += columns
        return out


def hermitian(G: np.ndarray) -> np.ndarray:
    return (G + adjoint(G)) / 2
