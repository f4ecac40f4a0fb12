"""Panels as they are computed with: converted, scaled, centred and standardized."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.compute import Device
from svdflow.compute.device import FastProducts
from svdflow.matrix.sources import MatrixSource
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan
from svdflow.svd.read.moments import (
    SAFE_NORM,
    column_moments,
    converted,
    deviations,
    square_norm,
)

# Share of the energy up to which column means are taken off products afterwards instead of every panel: the difference
# loses one bit at most then, and no panel is copied. Above it the first panel's means are subtracted from all.
SMALL_MEAN = 0.5
# Bytes of the slices in which panels are multiplied: a slice stays in the last-level cache from Y = P X to Y^H P.
# Slices shape the sums, so another value gives other bits. 2 and 32 MB take as long on 1000 columns, to 3 %
# (benchmarks/results/constants.md).
SLICE_BYTES = 8 * 2**20
# Slices whose products are added up in their own precision before they are added to the sum in double: one more
# rounding each, where a product of a slice has tens. Adding each to double took 8 % of a read of 4000 columns, of four
# 3 % (benchmarks/fused.py).
FLUSH = 4
# Bytes of a slice whose product with itself is taken, or that is only multiplied once: it is converted first, and stays
# in the second level of cache (chosen: that of a core of the reference machine).
SQUARE_SLICE = 2**21
# Rows over columns of a slice whose product with itself is taken, at least: sums take a tenth of the time of products
# of slices twice as high as wide, a twentieth of these (1000 columns, float32).
SQUARE_HEIGHT = 4
# Rows that the pilot mean is taken of, at most.
PILOT_ROWS = 2**12


@dataclass(frozen=True)
class Panels:
    """The tall matrix, panel by panel, as it is computed with: converted, scaled and centred.

    `shift` (n,) is subtracted from every row: a pilot mean, so that the rank-one correction for the rest of the mean
    does not cancel digits. Where columns of A are divided by their standard deviations, `standardize` says where they
    lie: ``rows`` of the tall matrix are divided panel by panel, of ``columns`` a read only adds up the moments, and the
    block that is multiplied is divided instead; `pilot` (n,) are standard deviations of the first panel, over a power
    of two. `fast` products are taken of dense panels, where they are given.
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
    fast: FastProducts | None = None

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
            first = np.asarray(device.get(plan.tall.read(start, min(stop, start + PILOT_ROWS))), plan.wide)
            pilot, energy, mean = _pilot_mean(first)
            if spread is not None:
                small = bool((np.abs(pilot) <= spread).all())  # columns of all sizes count alike
            else:
                small = len(first) * float(np.vdot(mean, mean).real) <= SMALL_MEAN * energy
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
            # In double, where means are taken: in single they would keep a share of eps of theirs.
            block = converted(wide - device.put(mean)[:, None], dtype)
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

    @property
    def as_read(self) -> bool:
        """Whether dense rows on the host are computed with as they are read."""
        untouched = self.shift is None and self.scale == 1 and self.source.dtype == self.work
        return untouched and "rows" not in (self.center, self.standardize)

    def square_slices(self, start: int, stop: int, least: int = 64) -> list[tuple[int, int]]:
        """Rows of a dense panel in slices that are converted in the cache of a core, of `least` rows each."""
        if self.device.name != "numpy" or self.as_read:
            return [(start, stop)]
        height = max(least, SQUARE_SLICE // (self.source.shape[1] * self.work.itemsize))
        number = max(1, round((stop - start) / height))
        cuts = [start + (stop - start) * i // number for i in range(number + 1)]
        return list(pairwise(cuts))


class Prepared:
    """Slices of dense rows on the host as `Panels.panel` makes them, to the same bits, in memory that is used again."""

    def __init__(self, panels: Panels) -> None:
        self.panels = panels
        host = panels.device.name == "numpy" and not panels.source.sparse
        self._in_place = host and "rows" not in (panels.center, panels.standardize)
        self._shift = None if panels.shift is None else panels.shift.astype(panels.work)
        self._room = np.empty((0, panels.source.shape[1]), panels.work)

    def __call__(self, block: Any) -> Any:
        """Rows (h, n); the next call overwrites them."""
        panels, work = self.panels, self.panels.work
        if not self._in_place:
            return panels.panel(block, work).block
        if panels.as_read:
            return block
        if len(self._room) < len(block):
            self._room = np.empty(block.shape, work)
        room = self._room[: len(block)]
        if block.dtype != work or panels.scale != 1:
            np.copyto(room, block, casting="unsafe")
            block = room
        if panels.scale != 1:
            np.multiply(block, panels.scale, out=room)
        return block if self._shift is None else np.subtract(block, self._shift, out=room)


@dataclass(frozen=True)
class Panel:
    """One panel: a dense block, or a sparse one with row means still to be taken off."""

    block: Any
    pending_mean: np.ndarray | None
    taken_mean: np.ndarray | None
    deviation: np.ndarray | None = None  # standard deviations of its rows, which were divided by them

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

    def __init__(self, X: Any, wide: np.dtype, fast: FastProducts | None = None) -> None:
        self.X, self.wide, self.fast = X, wide, fast
        self._total: Any = None
        self._in_place = isinstance(X, np.ndarray)
        self._Y: Any = None
        self._part: Any = None
        self._sum: Any = None  # of the newest slices, in the precision of products
        self._slices = 0  # in that sum

    @property
    def total(self) -> Any:
        """Sum of ``Y^H P`` so far, shape (b, n), in the precision of sums; None before the first."""
        self._flush()
        return self._total

    def times(self, panel: Panel) -> Any:
        """``P X``, shape (h, b); on NumPy the next call overwrites it."""
        if self.fast is not None:
            return self.fast.times(panel.block, self.X)
        if not self._in_place or sp.issparse(panel.block):
            return panel.times(self.X)
        height = panel.block.shape[0]
        if self._Y is None or len(self._Y) < height:
            self._Y = np.empty((height, self.X.shape[1]), self.X.dtype)
        return np.matmul(panel.block, self.X, out=self._Y[:height])

    def add(self, panel: Panel, Y: Any) -> None:
        """Add ``Y^H P`` to the total, shape (b, n)."""
        if self.fast is not None:
            self.put(self.fast.times(adjoint(Y), panel.block))
            return
        if not self._in_place or sp.issparse(panel.block):
            self.put(panel.adjoint_times(Y))
            return
        if self._sum is None:
            self._sum = np.empty((Y.shape[1], panel.block.shape[1]), Y.dtype)
            self._part = np.empty_like(self._sum)
        if self._slices:
            self._sum += np.matmul(adjoint(Y), panel.block, out=self._part)
        else:
            np.matmul(adjoint(Y), panel.block, out=self._sum)
        self._slices += 1
        if self._slices == FLUSH:
            self._flush()

    def put(self, part: Any) -> None:
        """Add a part in the precision of sums."""
        if self._total is None:
            self._total = converted(part, self.wide, copy=True)
        elif isinstance(part, np.ndarray):
            self._total += part
        else:
            self._total = self._total + converted(part, self.wide)

    def _flush(self) -> None:
        if self._slices:
            self.put(self._sum)
            self._slices = 0


def _pilot_mean(first: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Column means, and energy and means of the same over a number that brings both in range."""
    with np.errstate(over="ignore", invalid="ignore"):
        pilot = first.sum(axis=0) / len(first)
        energy = square_norm(first)
    low, high = SAFE_NORM[8]
    if low < energy < high or (energy == 0 and not first.any()):
        return pilot, energy, pilot
    finite = np.nan_to_num(first, posinf=0.0, neginf=0.0)  # the read itself will name the others
    pilot = (finite / len(finite)).sum(axis=0)  # divided first: the sum of large entries overflows
    top = float(np.abs(finite).max(initial=0.0)) or 1.0
    return pilot, square_norm(finite / top), pilot / top


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
