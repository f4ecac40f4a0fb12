"""What is done with one panel, and with one group of panels: the tasks that an engine runs.

Tasks are frozen dataclasses of plain data, so they pickle to other processes; they hold the source's description,
never the matrix. Products with a panel are taken in slices of a few megabytes, which stay in the last-level cache from
``Y = P X`` to ``Y^H P``.
"""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from svdflow.svd.orthonormal import adjoint
from svdflow.svd.read.converted_panels import SQUARE_HEIGHT, Panels, Prepared, Products
from svdflow.svd.read.facts import Facts, facts_of
from svdflow.svd.read.moments import SAFE_NORM, run_sums
from svdflow.svd.read.square_sums import SquareSum
from svdflow.svd.scratch import MemoryScratch

Bounds = tuple[tuple[int, int], ...]


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

    def joined(self, other: "Sums") -> "Sums":
        """The same sum, in the place of this one: for groups that nobody will ask for again."""
        if not isinstance(self.product, np.ndarray) or not self.product.flags.writeable:
            return self.plus(other)
        with np.errstate(over="ignore", invalid="ignore"):
            return Sums(np.add(self.product, other.product, out=self.product), self.facts.plus(other.facts))


@dataclass(frozen=True)
class FusedRead:
    """Task: the part of ``X^H A^H A`` (of ``A^H A`` without X) that one group of panels adds.

    The first `kept` columns of ``A X`` are written to `scratch`, where there is one.
    """

    panels: Panels
    X: np.ndarray | None
    first: bool
    scratch: Any = None
    kept: int = 0

    def __call__(self, group: Bounds) -> Sums:
        panels = self.panels
        device, work = panels.device, panels.work
        X = None if self.X is None else device.put(np.ascontiguousarray(self.X, work))
        products = Products(X, panels.wide, panels.fast)

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
                Y = products.times(part)
                if self.scratch is not None:
                    self.scratch.write(low, device.get(Y[:, : self.kept]))
                products.add(part, Y)
            return facts

        with device.errors(), np.errstate(over="ignore", invalid="ignore"):
            facts = reduce(Facts.plus, device.each(add, panels.source.read, group))
        return Sums(0.0 if facts.non_finite is not None else device.get(products.total), facts)


@dataclass(frozen=True)
class SquareRead:
    """Task: the upper triangle of ``A^H A`` that one group of dense panels adds, on the host.

    Norms and column sums come from the same slices while they are in cache: ``||P||_F^2`` is the trace.
    """

    panels: Panels
    first: bool

    def __call__(self, group: Bounds) -> Sums:
        panels, work = self.panels, self.panels.work
        square = SquareSum(panels.source.shape[1], work, panels.wide)
        plain = panels.standardize is None and panels.center != "rows"
        sums = np.zeros(panels.source.shape[1], panels.wide)

        prepared, n = Prepared(panels), panels.source.shape[1]

        def add(block: Any, start: int, stop: int) -> Facts:
            found = []
            for low, high in panels.square_slices(start, stop, SQUARE_HEIGHT * n):
                rows = block[low - start : high - start, :]
                if self.first and not plain:
                    panel = panels.panel(rows, work)
                    found.append(facts_of(panels, panel, low, work))
                    if found[-1].non_finite is not None:
                        break
                    rows = panel.block
                else:
                    rows = prepared(rows)
                if self.first and plain and panels.center == "columns":
                    np.add(sums, run_sums(rows, panels.wide), out=sums)
                square.add(rows)
            return reduce(Facts.plus, found) if found else Facts()

        with panels.device.errors(), np.errstate(over="ignore", invalid="ignore"):
            facts = reduce(Facts.plus, panels.device.each(add, panels.source.read, group))
            if facts.non_finite is not None:
                return Sums(0.0, facts)
            matrix = square.triangle()
            if self.first and plain:
                facts = self._plain_facts(group, float(np.trace(matrix).real), sums)
        return Sums(0.0 if facts.non_finite is not None else matrix, facts)

    def _plain_facts(self, group: Bounds, norm: float, sums: np.ndarray) -> Facts:
        """Of the norm; where that is near the ends of the range, from the panels again, which may hold NaN."""
        panels, work = self.panels, self.panels.work
        low, high = SAFE_NORM[np.finfo(work).dtype.itemsize]
        if low < norm < high:
            column_sums = sums if panels.center == "columns" else None
            return Facts(norm, norm, norm**0.5, column_sums, rows=group[-1][1] - group[0][0])

        def add(block: Any, start: int, stop: int) -> Facts:
            return facts_of(panels, panels.panel(block, work), start, work)

        return reduce(Facts.plus, panels.device.each(add, panels.source.read, group))


@dataclass(frozen=True)
class ImageRead:
    """Task: ``Y = (A - 1 mean^T) X`` of one group, written to `scratch`; gives ``Y^H Y`` where that is asked for."""

    panels: Panels
    X: np.ndarray
    mean: np.ndarray | None
    scratch: Any
    square: bool

    def __call__(self, group: Bounds) -> Any:
        panels, work = self.panels, self.panels.work
        device = panels.device
        X, prepared = device.put(np.ascontiguousarray(self.X, work)), Prepared(panels)
        mean_X = None if self.mean is None else device.put((self.mean @ self.X).astype(work))

        def write(block: Any, start: int, stop: int) -> Any:
            found = []
            for low, high in panels.square_slices(start, stop):
                panel = prepared(block[low - start : high - start, :])
                # Written where it waits, if that is in memory and of its type.
                waiting = self.scratch.rows[low:high] if isinstance(self.scratch, MemoryScratch) else None
                there = waiting is not None and isinstance(panel, np.ndarray) and waiting.dtype == work
                Y = np.matmul(panel, X, out=waiting) if there else panel @ X
                if mean_X is not None:
                    Y -= mean_X
                rows = device.get(Y)
                if not there:
                    self.scratch.write(low, rows)
                if self.square:
                    rows = rows.astype(panels.wide, copy=False)
                    found.append(adjoint(rows) @ rows)
            return reduce(np.add, found) if found else 0.0

        with device.errors():
            return reduce(np.add, device.each(write, panels.source.read, group))


@dataclass(frozen=True)
class RowsRead:
    """Task: of one group the rows that `FusedRead` would keep of several blocks, to the same bits.

    `blocks` are X, the scratch and the columns that are kept, for each.
    """

    panels: Panels
    blocks: tuple[tuple[np.ndarray, Any, int], ...]

    def __call__(self, group: Bounds) -> None:
        panels = self.panels
        device, work = panels.device, panels.work
        products = [
            Products(device.put(np.ascontiguousarray(X, work)), panels.wide) for X, _, _ in self.blocks
        ]

        def write(block: Any, start: int, stop: int) -> None:
            panel = panels.panel(block, work)
            for low, high in panels.slices(start, stop, work):
                part = panel.part(low - start, high - start)
                for product, (_, scratch, width) in zip(products, self.blocks, strict=True):
                    scratch.write(low, device.get(product.times(part)[:, :width]))

        with device.errors(), np.errstate(over="ignore", invalid="ignore"):
            for _ in device.each(write, panels.source.read, group):
                pass


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
    """Task: the triangular factor of a QR factorization of one group (TSQR; Demmel et al. 2012).

    With a column of `ones` before all others, which takes the column means off what follows it.
    """

    panels: Panels
    ones: bool

    def __call__(self, group: Bounds) -> np.ndarray:
        panels = self.panels

        def factor(block: Any, start: int, stop: int) -> np.ndarray:
            rows = panels.device.get(panels.panel(block, panels.wide).dense())
            return triangle(np.insert(rows, 0, 1, axis=1) if self.ones else rows)

        with panels.device.errors():
            return reduce(triangle, panels.device.each(factor, panels.source.read, group))


def triangle(*blocks: np.ndarray) -> np.ndarray:
    """Triangular factor of the blocks stacked on each other."""
    stacked = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    return np.asarray(np.linalg.qr(stacked, mode="r"))
