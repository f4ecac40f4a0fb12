"""What is done with one panel, and with one group of panels: the tasks that an engine runs.

Tasks are frozen dataclasses of plain data, so they pickle to other processes; they hold the source's description,
never the matrix.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.backend import linalg_errors, namespace, to_numpy
from svdflow.linalg.orthonormal import adjoint
from svdflow.linalg.plan import Plan
from svdflow.matrix.panels import name_rows
from svdflow.matrix.sources import MatrixSource

Bounds = tuple[tuple[int, int], ...]
SQUARE_BLOCK = 2**14  # entries squared in float64 at a time; stays in cache, and short sums round little


@dataclass(frozen=True)
class Panels:
    """The tall matrix, panel by panel, as it is computed with: converted, scaled and centred.

    `shift` (n,) is subtracted from every row: a pilot mean in the first read, so that the rank-one correction for the
    rest of the mean does not cancel digits.
    """

    source: MatrixSource
    work: np.dtype
    wide: np.dtype
    backend: str = "numpy"
    center: str | None = None
    shift: np.ndarray | None = None
    scale: float = 1.0
    noun: str = "row"

    @classmethod
    def of(cls, plan: Plan, backend: str) -> "Panels":
        panels = cls(
            plan.tall, plan.work, plan.wide, backend, plan.center, noun="column" if plan.transposed else "row"
        )
        if plan.center == "columns" and not plan.tall.sparse:
            start, stop = plan.bounds[0]
            first = np.asarray(to_numpy(plan.tall.read(start, stop)), plan.wide)
            finite = np.nan_to_num(first, posinf=0.0, neginf=0.0)  # the read itself will name the others
            pilot = (finite / len(finite)).sum(axis=0)  # divided first: the sum of large entries overflows
            # Rounded to what panels are computed in, so that every read takes off the very same numbers.
            return replace(panels, shift=pilot.astype(plan.work).astype(plan.wide))
        return panels

    def rescaled(self, scale: float) -> "Panels":
        return replace(self, scale=scale, shift=None if self.shift is None else self.shift * scale)

    def load(self, start: int, stop: int, dtype: np.dtype) -> "Panel":
        """Read one panel and convert it."""
        return self.panel(self.source.read(start, stop), dtype)

    def panel(self, block: Any, dtype: np.dtype) -> "Panel":
        """Convert, scale and centre rows as they were read."""
        xp = namespace(self.backend)
        if sp.issparse(block):
            block = (
                block.astype(dtype) * dtype.type(self.scale)
                if self.scale != 1
                else block.astype(dtype, copy=False)
            )
            mean = (
                np.asarray(block.sum(axis=1, dtype=self.wide)).reshape(-1) / block.shape[1]
                if self.center == "rows"
                else None
            )
            return Panel(block, mean, None)
        block = (
            xp.asarray(block, dtype=dtype) if self.backend != "numpy" else np.asarray(to_numpy(block), dtype)
        )
        if self.scale != 1:
            block = block * dtype.type(self.scale)
        mean = None
        if self.center == "rows":
            wide = xp.astype(block, self.wide, copy=False)
            mean = to_numpy(xp.mean(wide, axis=1))
            if not np.isfinite(mean).all():  # perhaps only the sum overflows
                mean = to_numpy(xp.sum(wide / wide.shape[1], axis=1))
            block = block - xp.astype(xp.asarray(mean), dtype)[:, None]
        if self.shift is not None:
            block = block - xp.astype(xp.asarray(self.shift), dtype)
        return Panel(block, None, mean)


@dataclass(frozen=True)
class Panel:
    """One panel: a dense block, or a sparse one with row means still to be taken off."""

    block: Any
    pending_mean: np.ndarray | None
    taken_mean: np.ndarray | None

    @property
    def mean(self) -> np.ndarray | None:
        return self.pending_mean if self.taken_mean is None else self.taken_mean

    def times(self, X: Any) -> Any:
        """``P X``, shape (h, b)."""
        Y = self.block @ X
        return Y if self.pending_mean is None else Y - np.outer(self.pending_mean, X.sum(axis=0))

    def adjoint_times(self, Y: Any) -> Any:
        """``P^H Y``, shape (n, b)."""
        if sp.issparse(self.block):
            Z = (self.block.conj().T if self.block.dtype.kind == "c" else self.block.T) @ Y
            return Z if self.pending_mean is None else Z - self.pending_mean.conj() @ Y
        return adjoint_product(self.block, Y)

    def gram(self) -> Any:
        """``P^H P``, dense, shape (n, n)."""
        if not sp.issparse(self.block):
            return adjoint_product(self.block, self.block)
        gram = (self.block.conj().T @ self.block).toarray()
        if self.pending_mean is None:
            return gram
        weights = self.block.conj().T @ self.pending_mean
        ones = np.ones(len(weights))
        product = gram - np.outer(weights, ones) - np.outer(ones, weights.conj())
        return product + np.vdot(self.pending_mean, self.pending_mean).real

    def dense(self) -> np.ndarray:
        block = self.block.toarray() if sp.issparse(self.block) else to_numpy(self.block)
        return block if self.pending_mean is None else block - self.pending_mean[:, None]

    def column_sums(self, wide: np.dtype) -> np.ndarray:
        sums = self.block.sum(axis=0, dtype=wide)
        return np.asarray(sums).reshape(-1) if sp.issparse(self.block) else to_numpy(sums)


def adjoint_product(P: Any, Y: Any) -> Any:
    """``P^H Y`` without a conjugated copy of P: for complex entries as ``(Y^H P)^H``."""
    return adjoint(adjoint(Y) @ P) if "complex" in str(P.dtype) else P.T @ Y


def fused_product(panel: Panel, X: Any, xp: Any) -> tuple[Any, float]:
    """``P^H (P X)``, shape (n, b), from one load of the panel, as a product and a power of two to multiply by.

    The middle factor is scaled by a power of two to size one, so that float32 neither overflows at entries of
    1e30 nor vanishes at 1e-30; the power is put back in the precision of the sums.
    """
    Y = panel.times(X)
    top = float(xp.max(xp.abs(Y)))
    if 0 < top < float("inf") and not 2.0**-20 < top < 2.0**20:
        power = float(2.0 ** np.floor(np.log2(top)))
        return panel.adjoint_times(Y * xp.asarray(1 / power, dtype=Y.dtype)), power
    return panel.adjoint_times(Y), 1.0


def square_norm(block: Any) -> float:
    """``||P||_F^2``, summed in float64."""
    if sp.issparse(block):
        block = block.data
    if not isinstance(block, np.ndarray):
        xp = namespace("cupy")
        return float(xp.sum(xp.abs(block).astype(xp.float64) ** 2))
    flat = block.ravel(order="K")
    double = np.complex128 if flat.dtype.kind == "c" else np.float64
    parts = []
    for start in range(0, flat.size, SQUARE_BLOCK):
        part = flat[start : start + SQUARE_BLOCK].astype(double, copy=False)
        parts.append(float(np.vdot(part, part).real))
    return math.fsum(parts) if np.isfinite(parts).all() else float(np.sum(parts))


@dataclass(frozen=True)
class Sums:
    """What a read adds up over panels. All but `product` come with the first read only.

    `non_finite` is the complaint about the lowest panel with NaN or infinity; where there is one, the rest is void.
    """

    product: Any
    norm_squared: float = 0.0
    uncentred: float = 0.0
    peak: float = 0.0
    column_sums: Any = None
    row_means: Any = None
    non_finite: str | None = None

    def plus(self, other: "Sums") -> "Sums":
        # Groups are combined in the order of their rows, so the left complaint is the lower one.
        for part in (self, other):
            if part.non_finite is not None:
                return part
        return Sums(
            self.product + other.product,
            self.norm_squared + other.norm_squared,
            self.uncentred + other.uncentred,
            max(self.peak, other.peak),
            None if self.column_sums is None else self.column_sums + other.column_sums,
            None if self.row_means is None else np.concatenate([self.row_means, other.row_means]),
        )


@dataclass(frozen=True)
class FusedRead:
    """Task: the part of ``A^H A X`` (of ``A^H A`` without X) that one group of panels adds."""

    panels: Panels
    X: np.ndarray | None
    first: bool

    def __call__(self, group: Bounds) -> Sums:
        xp = namespace(self.panels.backend)
        X = None if self.X is None else xp.asarray(self.X.astype(self.panels.work, copy=False))
        product, first = None, Sums(0.0)
        with linalg_errors(self.panels.backend), np.errstate(over="ignore", invalid="ignore"):
            for start, stop in group:
                block = self.panels.source.read(start, stop)
                panel = self.panels.panel(block, self.panels.work)
                if self.first:
                    facts = self._facts(self._certain(block, panel), start)
                    if facts.non_finite is not None:
                        return facts
                    first = facts if start == group[0][0] else first.plus(facts)
                part, power = (panel.gram(), 1.0) if X is None else fused_product(panel, X, xp)
                part = xp.astype(xp.asarray(part), self.panels.wide, copy=False)
                part = part if power == 1.0 else part * power
                product = part if product is None else product + part
        return replace(first, product=to_numpy(product))

    def _certain(self, block: Any, panel: Panel) -> Panel:
        """The panel whose norm and mean are exact: where centring rounds in float32, another one in float64."""
        rounds = self.panels.center is not None and self.panels.work != self.panels.wide
        return self.panels.panel(block, self.panels.wide) if rounds else panel

    def _facts(self, panel: Panel, start: int) -> Sums:
        """Norm, mean and finiteness of one panel."""
        norm = square_norm(panel.block)
        peak = 0.0
        values = panel.block.data if sp.issparse(panel.block) else panel.block
        if not 1e-40 < norm < 1e60:
            host = to_numpy(values)
            if not np.isfinite(host).all():
                return Sums(0.0, non_finite=self._where(panel, start))
            peak = float(np.abs(host).max(initial=0.0))
        uncentred = norm
        if panel.pending_mean is not None:
            norm -= panel.block.shape[1] * float(np.vdot(panel.pending_mean, panel.pending_mean).real)
        sums = panel.column_sums(self.panels.wide) if self.panels.center == "columns" else None
        return Sums(0.0, norm, uncentred, max(peak, min(norm, 1e60) ** 0.5), sums, panel.mean)

    def _where(self, panel: Panel, start: int) -> str:
        block = panel.block.toarray() if sp.issparse(panel.block) else to_numpy(panel.block)
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1)) + start
        return (
            f"{self.panels.source.name}: NaN or infinity in {name_rows(bad, noun=self.panels.noun)} (counted from "
            "0, first panel that has any); replace or drop such entries first"
        )


@dataclass(frozen=True)
class LastSums:
    """``W = A^H A V`` and the triangular factor of ``A V``."""

    W: np.ndarray
    R: np.ndarray

    def plus(self, other: "LastSums") -> "LastSums":
        return LastSums(self.W + other.W, triangle(self.R, other.R))


@dataclass(frozen=True)
class LastRead:
    """Task: ``Y = A V`` of one group, written to `scratch`; adds ``A^H Y`` and the triangular factor of Y.

    In double precision whatever the panels are, so singular values and errors are exact to float64 for
    the V that came out of the iteration. `mean` is what is left of the column means after the panels' shift.
    """

    panels: Panels
    V: np.ndarray
    mean: np.ndarray | None
    scratch: Any

    def __call__(self, group: Bounds) -> LastSums:
        xp = namespace(self.panels.backend)
        V = xp.asarray(self.V)
        total: Any = None
        mean_V = None if self.mean is None else self.mean @ self.V
        with linalg_errors(self.panels.backend):
            for start, stop in group:
                panel = self.panels.load(start, stop, self.panels.wide)
                Y = panel.times(V)
                if mean_V is not None:
                    Y = Y - xp.asarray(mean_V)
                # The mean's part of A^H Y is conj(mean) times the column sums of Y, which a centred Y does not have.
                W, Y = to_numpy(panel.adjoint_times(Y)), to_numpy(Y)
                self.scratch.write(start, Y)
                part = LastSums(W, triangle(Y))
                total = part if total is None else total.plus(part)
        return total


@dataclass(frozen=True)
class TriangularRead:
    """Task: the triangular factor of a QR factorization of one group (TSQR; Demmel et al. 2012)."""

    panels: Panels
    mean: np.ndarray | None

    def __call__(self, group: Bounds) -> np.ndarray:
        R: Any = None
        for start, stop in group:
            block = self.panels.load(start, stop, self.panels.wide).dense()
            block = block if self.mean is None else block - self.mean
            R = triangle(block) if R is None else triangle(R, block)
        return R


def triangle(*blocks: np.ndarray) -> np.ndarray:
    """Triangular factor of the blocks stacked on each other."""
    stacked = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    return np.asarray(np.linalg.qr(stacked, mode="r"))
