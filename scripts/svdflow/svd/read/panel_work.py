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

from svdflow.compute import Device
from svdflow.matrix.panels import name_rows
from svdflow.matrix.sources import MatrixSource
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan
from svdflow.svd.read.moments import column_moments, column_sums, converted, deviations, square_norm

Bounds = tuple[tuple[int, int], ...]
SMALL_MEAN = 0.5  # share of the energy: to take it off afterwards costs one bit then
SLICE_BYTES = 8 * 2**20  # of a panel, as it is computed with
SAFE_NORM = {4: (1e-20, 1e30), 8: (1e-200, 1e200)}  # of squares, by bytes of a real number


@dataclass(frozen=True)
class Panels:
    """The tall matrix, panel by panel, as it is computed with: converted, scaled and centred.

    `shift` (n,) is subtracted from every row: a pilot mean, so that the rank-one correction for the rest of the mean
    does not cancel digits. Where columns of A are divided by their standard deviations, `standardize` says where they
    lie: ``rows`` of the tall matrix are divided panel by panel, of ``columns`` a read only adds up the moments, and the
    block that is multiplied is divided instead; `pilot` (n,) are standard deviations of the first panel, over a power
    of two.
    """

    source: MatrixSource
    work: np.dtype
    wide: np.dtype
    device: Device = field(default_factory=Device)
    center: str | None = None
    shift: np.ndarray | None = None
    scale: float = 1.0
    noun: str = "row"
    standardize: str | None = None
    pilot: np.ndarray | None = None

    @classmethod
    def of(cls, plan: Plan, device: Device, *, standardized: bool = False) -> "Panels":
        noun, other = ("column", "rows") if plan.transposed else ("row", "columns")
        panels = cls(plan.tall, plan.work, plan.wide, device, plan.center, noun=noun)
        if standardized:
            panels = replace(panels, standardize=other)
        spread = None
        if panels.standardize == "columns":
            spread = _pilot_deviation(panels, plan.tall.read(*plan.bounds[0]))
            # Near 1, so that what is divided by them stays in range.
            panels = replace(panels, pilot=spread * 2.0 ** -np.floor(np.log2(spread.max())))
        if plan.center == "columns" and not plan.tall.sparse:
            start, stop = plan.bounds[0]
            first = np.asarray(device.get(plan.tall.read(start, stop)), plan.wide)
            finite = np.nan_to_num(first, posinf=0.0, neginf=0.0)  # the read itself will name the others
            pilot = (finite / len(finite)).sum(axis=0)  # divided first: the sum of large entries overflows
            if spread is not None:
                small = bool((np.abs(pilot) <= spread).all())  # columns of all sizes count alike
            else:
                top = float(np.abs(finite).max(initial=0.0))
                low, high = SAFE_NORM[8]
                if top and not low < top * top < high:  # a power would raise where a product is infinite
                    finite, mean = finite / top, pilot / top
                else:
                    mean = pilot
                small = len(finite) * float(np.vdot(mean, mean).real) <= SMALL_MEAN * square_norm(finite)
            if small:  # nothing cancels: the correction alone will do, and saves a copy of every panel
                return panels
            # Rounded to what panels are computed in, so that every read takes off the very same numbers.
            return replace(panels, shift=pilot.astype(plan.work).astype(plan.wide))
        return panels

    @property
    def unit(self) -> float:
        """What the factorized matrix is multiplied by: standardized columns have no scale."""
        return self.scale if self.standardize is None else 1.0

    def rescaled(self, scale: float) -> "Panels":
        return replace(self, scale=scale, shift=None if self.shift is None else self.shift * scale)

    def panel(self, block: Any, dtype: np.dtype) -> "Panel":
        """Convert, scale and centre rows as they were read."""
        if sp.issparse(block):
            block = block.astype(dtype, copy=False)
            block = block * dtype.type(self.scale) if self.scale != 1 else block
            mean = deviation = None
            if self.center == "rows":
                mean = np.asarray(block.astype(self.wide).sum(axis=1)).reshape(-1) / block.shape[1]
            if self.standardize == "rows":
                deviation = self._deviations(block.T)
                block = sp.diags_array((1 / deviation).astype(dtype)) @ block
                mean = None if mean is None else mean / deviation
            return Panel(block, mean, None, deviation)
        device = self.device
        block = converted(block, dtype)
        if self.scale != 1:
            block = block * self.scale
        mean, original = None, block
        if self.center == "rows":
            wide = converted(block, self.wide)
            mean = device.get(device.xp.sum(wide, axis=1)) / wide.shape[1]
            if not np.isfinite(mean).all():  # perhaps only the sum overflows
                mean = device.get(device.xp.sum(wide / wide.shape[1], axis=1))
            block = block - device.put(mean.astype(dtype))[:, None]
        deviation = None
        if self.standardize == "rows":
            deviation = self._deviations(original.T)
            block = _divided(block, deviation, dtype, self.wide, device)
            mean = None if mean is None else mean / deviation
        if self.shift is not None:
            block = block - device.put(self.shift.astype(dtype))
        return Panel(block, None, mean, deviation)

    def _deviations(self, columns: Any) -> np.ndarray:
        rows = columns.shape[0]
        return deviations(*column_moments(columns, self.wide, self.device), rows, self.scale)

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
    deviation: np.ndarray | None = None  # that its rows were divided by

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

    def part(self, start: int, stop: int) -> "Panel":
        """Some of its rows."""
        if (start, stop) == (0, self.block.shape[0]):
            return self
        known = (self.pending_mean, self.taken_mean, self.deviation)
        cut = [None if figures is None else figures[start:stop] for figures in known]
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


def _divided(block: Any, deviation: np.ndarray, dtype: np.dtype, wide: np.dtype, device: Device) -> Any:
    """Rows over their deviations, in double where these are near the ends of a narrower range."""
    low, high = SAFE_NORM[np.finfo(dtype).dtype.itemsize]
    if dtype == wide or (low < deviation.min() ** 2 and deviation.max() ** 2 < high):
        return block / device.put(deviation.astype(dtype))[:, None]
    return converted(converted(block, wide) / device.put(deviation.astype(wide))[:, None], dtype)


def _pilot_deviation(panels: Panels, block: Any) -> np.ndarray:
    """Standard deviations of the first panel; their root mean square for columns that are constant in it."""
    if sp.issparse(block):
        finite = block.astype(panels.wide)
        finite.data = np.nan_to_num(finite.data, posinf=0.0, neginf=0.0)
    else:
        finite = np.nan_to_num(np.asarray(panels.device.get(block), panels.wide), posinf=0.0, neginf=0.0)
    rows = finite.shape[0]
    deviation = deviations(*column_moments(finite, panels.wide), rows, 0.0)
    top = deviation.max(initial=0.0)
    if not 0 < top < np.inf:
        return np.ones_like(deviation)
    typical = top * np.sqrt(np.mean((deviation[deviation > 0] / top) ** 2))
    return np.where(deviation > 0, deviation, typical)


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
    rows: float = 0.0
    column_squares: Any = None  # of distances from the mean
    row_deviations: Any = None
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
            self.rows + other.rows,
            None if self.column_squares is None else self._joined_squares(other),
            None
            if self.row_deviations is None
            else np.concatenate([self.row_deviations, other.row_deviations]),
        )

    def _joined_squares(self, other: "Facts") -> np.ndarray:
        # Chan, Golub and LeVeque 1983: nothing cancels, however large the means are.
        weight = self.rows * other.rows / (self.rows + other.rows)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # the norm overflows too then: another read will do
            apart = np.abs(self.column_sums / self.rows - other.column_sums / other.rows) ** 2
            return self.column_squares + other.column_squares + weight * apart

    def energy(self, deviation: np.ndarray, mean: Any = 0.0) -> float:
        """Squared Frobenius norm after `mean` was taken off the columns and they were divided by `deviation`."""
        offset = np.abs(self.column_sums / self.rows - mean) ** 2
        return float(np.sum((self.column_squares + self.rows * offset) / deviation**2))


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
    sums = squares = None
    if panels.standardize == "columns":
        sums, lengths = column_moments(panel.block, panels.wide, panels.device)
        squares = lengths**2
    elif panels.center == "columns":
        sums = panels.device.get(column_sums(panel.block, panels.wide))
    mean = panel.mean if panel.mean is None or panel.deviation is None else panel.mean * panel.deviation
    peak = max(peak, min(norm, high) ** 0.5)
    return Facts(norm, uncentred, peak, sums, mean, panel.block.shape[0], squares, panel.deviation)


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
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # entries near the ends of the range: another read will do
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
