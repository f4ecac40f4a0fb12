"""What is done with one panel, and with one group of panels: the tasks that an engine runs.

Tasks are frozen dataclasses of plain data, so they pickle to other processes; they hold the source's description,
never the matrix. Products with a panel are taken in slices of a few megabytes, which stay in the last-level cache from
``Y = P X`` to ``Y^H P``.
"""

from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.backend import Device, array_namespace
from svdflow.linalg.orthonormal import adjoint
from svdflow.linalg.plan import Plan
from svdflow.matrix.panels import name_rows
from svdflow.matrix.sources import MatrixSource

Bounds = tuple[tuple[int, int], ...]
SMALL_MEAN = 0.5  # share of the energy: to take it off afterwards costs one bit then
SLICE_BYTES = 8 * 2**20  # of a panel, as it is computed with
SQUARE_RUN, RUNS = (
    2**10,
    2**6,
)  # entries squared and summed in one go, and how many such runs are converted at a time
SAFE_NORM = {4: (1e-20, 1e30), 8: (1e-200, 1e200)}  # of squares, by bytes of a real number


@dataclass(frozen=True)
class Panels:
    """The tall matrix, panel by panel, as it is computed with: converted, scaled and centred.

    `shift` (n,) is subtracted from every row: a pilot mean, so that the rank-one correction for the rest of the mean
    does not cancel digits.
    """

    source: MatrixSource
    work: np.dtype
    wide: np.dtype
    device: Device = field(default_factory=Device)
    center: str | None = None
    shift: np.ndarray | None = None
    scale: float = 1.0
    noun: str = "row"

    @classmethod
    def of(cls, plan: Plan, device: Device) -> "Panels":
        panels = cls(
            plan.tall, plan.work, plan.wide, device, plan.center, noun="column" if plan.transposed else "row"
        )
        if plan.center == "columns" and not plan.tall.sparse:
            start, stop = plan.bounds[0]
            first = np.asarray(device.get(plan.tall.read(start, stop)), plan.wide)
            finite = np.nan_to_num(first, posinf=0.0, neginf=0.0)  # the read itself will name the others
            pilot = (finite / len(finite)).sum(axis=0)  # divided first: the sum of large entries overflows
            if len(finite) * float(np.vdot(pilot, pilot).real) <= SMALL_MEAN * square_norm(finite):
                return (
                    panels  # nothing cancels: the correction alone will do, and saves a copy of every panel
                )
            # Rounded to what panels are computed in, so that every read takes off the very same numbers.
            return replace(panels, shift=pilot.astype(plan.work).astype(plan.wide))
        return panels

    def rescaled(self, scale: float) -> "Panels":
        return replace(self, scale=scale, shift=None if self.shift is None else self.shift * scale)

    def panel(self, block: Any, dtype: np.dtype) -> "Panel":
        """Convert, scale and centre rows as they were read."""
        if sp.issparse(block):
            block = block.astype(dtype, copy=False)
            block = block * dtype.type(self.scale) if self.scale != 1 else block
            mean = None
            if self.center == "rows":
                mean = np.asarray(block.astype(self.wide).sum(axis=1)).reshape(-1) / block.shape[1]
            return Panel(block, mean, None)
        device = self.device
        block = converted(block, dtype)
        if self.scale != 1:
            block = block * self.scale
        mean = None
        if self.center == "rows":
            wide = converted(block, self.wide)
            mean = device.get(device.xp.sum(wide, axis=1)) / wide.shape[1]
            if not np.isfinite(mean).all():  # perhaps only the sum overflows
                mean = device.get(device.xp.sum(wide / wide.shape[1], axis=1))
            block = block - device.put(mean.astype(dtype))[:, None]
        if self.shift is not None:
            block = block - device.put(self.shift.astype(dtype))
        return Panel(block, None, mean)

    def slices(self, start: int, stop: int, dtype: np.dtype) -> list[tuple[int, int]]:
        """Rows of a dense panel in slices of 8 MB, for the cache of a processor; others are taken whole."""
        if self.source.sparse or self.device.name != "numpy":
            return [(start, stop)]
        height = max(64, SLICE_BYTES // (self.source.shape[1] * dtype.itemsize))
        number = max(1, round((stop - start) / height))
        cuts = [start + (stop - start) * i // number for i in range(number + 1)]
        return list(pairwise(cuts))


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
        """``Y^H P``, shape (b, n): the adjoint of ``P^H Y``, which needs no conjugated copy of P."""
        if sp.issparse(self.block):
            Z = adjoint((self.block.conj().T if self.block.dtype.kind == "c" else self.block.T) @ Y)
            return Z if self.pending_mean is None else Z - (self.pending_mean @ Y.conj())[:, None]
        return adjoint(Y) @ self.block

    def gram(self) -> Any:
        """``P^H P``, dense, shape (n, n)."""
        if not sp.issparse(self.block):
            return adjoint(self.block) @ self.block
        gram = (self.block.conj().T @ self.block).toarray()
        if self.pending_mean is None:
            return gram
        weights = self.block.conj().T @ self.pending_mean
        ones = np.ones(len(weights))
        product = gram - np.outer(weights, ones) - np.outer(ones, weights.conj())
        return product + np.vdot(self.pending_mean, self.pending_mean).real

    def dense(self) -> Any:
        block = self.block.toarray() if sp.issparse(self.block) else self.block
        return block if self.pending_mean is None else block - self.pending_mean[:, None]

    def column_sums(self, wide: np.dtype) -> Any:
        if sp.issparse(self.block):
            # SciPy sums in the type of the entries, whatever dtype it is asked for.
            return np.asarray(self.block.astype(wide).sum(axis=0)).reshape(-1)
        xp = array_namespace(self.block)
        return xp.sum(self.block, axis=0, dtype=getattr(xp, wide.name))

    def part(self, start: int, stop: int) -> "Panel":
        """Some of its rows."""
        if (start, stop) == (0, self.block.shape[0]):
            return self
        cut = [None if mean is None else mean[start:stop] for mean in (self.pending_mean, self.taken_mean)]
        return Panel(self.block[start:stop, :], *cut)


class Products:
    """``Y = P X`` and the sum of ``Y^H P`` over the slices of a group, on NumPy in buffers that are used again."""

    def __init__(self, X: Any, wide: np.dtype) -> None:
        self.X, self.wide = X, wide
        self.total: Any = None
        self._in_place = isinstance(X, np.ndarray)
        self._Y: Any = None
        self._part: Any = None

    def times(self, panel: Panel) -> Any:
        """``P X``, shape (h, b); on NumPy the next call overwrites it."""
        if not self._in_place or sp.issparse(panel.block):
            return panel.times(self.X)
        height = panel.block.shape[0]
        if self._Y is None or len(self._Y) < height:
            self._Y = np.empty((height, self.X.shape[1]), self.X.dtype)
        return np.matmul(panel.block, self.X, out=self._Y[:height])

    def add(self, panel: Panel, Y: Any) -> None:
        """Add ``Y^H P`` to the total, shape (b, n)."""
        if self._in_place and not sp.issparse(panel.block):
            if self._part is None:
                self._part = np.empty((Y.shape[1], panel.block.shape[1]), Y.dtype)
            self.put(np.matmul(adjoint(Y), panel.block, out=self._part))
        else:
            self.put(panel.adjoint_times(Y))

    def put(self, part: Any) -> None:
        """Add a part in the precision of sums."""
        if self.total is None:
            self.total = converted(part, self.wide, copy=True)
        elif isinstance(part, np.ndarray):
            self.total += part
        else:
            self.total = self.total + converted(part, self.wide)


def converted(array: Any, dtype: np.dtype, *, copy: bool = False) -> Any:
    """The array in a NumPy dtype's counterpart of its own library."""
    xp = array_namespace(array)
    return xp.astype(array, getattr(xp, dtype.name), copy=copy)


def square_norm(block: Any, exact: bool = True, device: Device | None = None) -> float:
    """``||P||_F^2``, terms added in float64; or by runs of 1024 in the precision of P, which is quicker."""
    if sp.issparse(block):
        block = block.data
    if not isinstance(block, np.ndarray):
        xp = array_namespace(block)
        size = xp.abs(block)
        size = xp.astype(size, xp.float64) if exact else size
        return float((device or Device()).get(xp.sum(size * size)))
    flat = block.ravel(order="K")
    whole = flat.size - flat.size % SQUARE_RUN
    runs = flat[:whole].reshape(-1, SQUARE_RUN)
    double = np.dtype(np.complex128 if flat.dtype.kind == "c" else np.float64)
    kind = double if exact else flat.dtype
    parts = [flat[whole:][None]] + [runs[i : i + RUNS] for i in range(0, len(runs), RUNS)]
    with np.errstate(over="ignore"):  # the sum is infinite then, and says so
        squares = [np.vecdot(part, part).real for part in (part.astype(kind, copy=False) for part in parts)]
    return float(np.sum(np.concatenate(squares), dtype=np.float64))


@dataclass(frozen=True)
class Facts:
    """What is known of a matrix besides products: summed over panels.

    `non_finite` is the complaint about the lowest panel with NaN or infinity; where there is one, the rest is void.
    """

    norm_squared: float = 0.0
    uncentred: float = 0.0
    peak: float = 0.0
    column_sums: Any = None
    row_means: Any = None
    non_finite: str | None = None

    def plus(self, other: "Facts") -> "Facts":
        # Groups are combined in the order of their rows, so the left complaint is the lower one.
        for part in (self, other):
            if part.non_finite is not None:
                return part
        return Facts(
            self.norm_squared + other.norm_squared,
            self.uncentred + other.uncentred,
            max(self.peak, other.peak),
            None if self.column_sums is None else self.column_sums + other.column_sums,
            None if self.row_means is None else np.concatenate([self.row_means, other.row_means]),
        )


def facts_of(panels: Panels, panel: Panel, start: int, dtype: np.dtype) -> Facts:
    """Norm, mean and finiteness of one panel, at the speed of its own precision."""
    norm = square_norm(panel.block, dtype == panels.wide, panels.device)
    low, high = SAFE_NORM[np.finfo(dtype).dtype.itemsize]
    peak = 0.0
    if not low < norm < high:
        values = panel.block.data if sp.issparse(panel.block) else panels.device.get(panel.block)
        if not np.isfinite(values).all():
            return Facts(non_finite=_where(panels, panel, start))
        peak = float(np.abs(values).max(initial=0.0))
    uncentred = norm
    if panel.pending_mean is not None:
        norm -= panel.block.shape[1] * float(np.vdot(panel.pending_mean, panel.pending_mean).real)
    sums = panels.device.get(panel.column_sums(panels.wide)) if panels.center == "columns" else None
    return Facts(norm, uncentred, max(peak, min(norm, high) ** 0.5), sums, panel.mean)


def _where(panels: Panels, panel: Panel, start: int) -> str:
    block = panel.block.toarray() if sp.issparse(panel.block) else panels.device.get(panel.block)
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1)) + start
    return (
        f"{panels.source.name}: NaN or infinity in {name_rows(bad, noun=panels.noun)} (counted from "
        "0, first panel that has any); replace or drop such entries first"
    )


@dataclass(frozen=True)
class Sums:
    """``X^H A^H A`` of one group, shape (b, n), and the facts where they were asked for."""

    product: Any
    facts: Facts

    def plus(self, other: "Sums") -> "Sums":
        return Sums(self.product + other.product, self.facts.plus(other.facts))


@dataclass(frozen=True)
class FusedRead:
    """Task: the part of ``X^H A^H A`` (of ``A^H A`` without X) that one group of panels adds."""

    panels: Panels
    X: np.ndarray | None
    first: bool

    def __call__(self, group: Bounds) -> Sums:
        panels = self.panels
        device, work = panels.device, panels.work
        X = None if self.X is None else device.put(np.ascontiguousarray(self.X, work))
        products = Products(X, panels.wide)

        def add(block: Any, start: int, stop: int) -> Facts:
            panel = panels.panel(block, work)
            facts = facts_of(panels, panel, start, work) if self.first else Facts()
            if facts.non_finite is not None:
                return facts
            if X is None:
                products.put(panel.gram())
                return facts
            for low, high in panels.slices(start, stop, work):
                part = panel.part(low - start, high - start)
                products.add(part, products.times(part))
            return facts

        with device.errors(), np.errstate(over="ignore", invalid="ignore"):
            facts = reduce(Facts.plus, device.each(add, panels.source.read, group))
        return Sums(0.0 if facts.non_finite is not None else device.get(products.total), facts)


@dataclass(frozen=True)
class LastSums:
    """``V^H A^H A``, and ``Y^H Y`` or the triangular factor of ``Y = A V``; norms where the first read was blunt."""

    product: Any
    square: np.ndarray | None
    R: np.ndarray | None
    facts: Facts

    def plus(self, other: "LastSums") -> "LastSums":
        square = None if self.square is None or other.square is None else self.square + other.square
        R = None if self.R is None or other.R is None else triangle(self.R, other.R)
        return LastSums(self.product + other.product, square, R, self.facts.plus(other.facts))

    def triangle(self) -> np.ndarray:
        """A matrix R with ``R^H R = Y^H Y``: the triangular factor of Y, or a root of its square."""
        if self.square is not None:
            values, vectors = np.linalg.eigh(self.square)
            return np.sqrt(np.maximum(values, 0))[:, None] * adjoint(vectors)
        assert self.R is not None
        return self.R


@dataclass(frozen=True)
class LastRead:
    """Task: ``Y = A X`` of one group, its first columns written to `scratch`; adds ``Y^H A`` and their triangle.

    `dtype` is the precision of products. `mean` is what is left of the column means after the panels' shift. The
    triangle comes from ``Y^H Y`` in double where `by_square`, else from QR (TSQR).
    """

    panels: Panels
    X: np.ndarray
    kept: int
    mean: np.ndarray | None
    scratch: Any
    dtype: np.dtype
    by_square: bool

    def __call__(self, group: Bounds) -> LastSums:
        panels, dtype = self.panels, self.dtype
        device, wide = panels.device, panels.wide
        products = Products(device.put(np.ascontiguousarray(self.X, dtype)), wide)
        mean_X = None if self.mean is None else device.put((self.mean @ self.X).astype(dtype))
        anew = dtype == wide != panels.work  # figures that the first read gave in fewer digits

        def add(block: Any, start: int, stop: int) -> LastSums:
            panel = panels.panel(block, dtype)
            facts = facts_of(panels, panel, start, wide) if anew else Facts()
            found = []
            for low, high in panels.slices(start, stop, dtype):
                part = panel.part(low - start, high - start)
                Y = products.times(part)
                Y = Y if mean_X is None else Y - mean_X
                rows = device.get(Y[:, : self.kept])
                self.scratch.write(low, rows)
                rows = rows.astype(wide, copy=False)
                found.append(adjoint(rows) @ rows if self.by_square else triangle(rows))
                # The mean's part of Y^H A is the column sums of Y, which a centred Y does not have.
                products.add(part, Y)
            square, R = (reduce(np.add, found), None) if self.by_square else (None, reduce(triangle, found))
            return LastSums(0.0, square, R, facts)

        with device.errors():
            sums = reduce(LastSums.plus, device.each(add, panels.source.read, group))
        return replace(sums, product=device.get(products.total))


@dataclass(frozen=True)
class TriangularRead:
    """Task: the triangular factor of a QR factorization of one group (TSQR; Demmel et al. 2012)."""

    panels: Panels
    mean: np.ndarray | None

    def __call__(self, group: Bounds) -> np.ndarray:
        panels = self.panels

        def factor(block: Any, start: int, stop: int) -> np.ndarray:
            rows = panels.device.get(panels.panel(block, panels.wide).dense())
            return triangle(rows if self.mean is None else rows - self.mean)

        with panels.device.errors():
            return reduce(triangle, panels.device.each(factor, panels.source.read, group))


def triangle(*blocks: np.ndarray) -> np.ndarray:
    """Triangular factor of the blocks stacked on each other."""
    stacked = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    return np.asarray(np.linalg.qr(stacked, mode="r"))
