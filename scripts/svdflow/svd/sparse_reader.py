"""Reads of a sparse matrix in memory, and which reader a matrix has."""

from typing import Any

import numpy as np

from svdflow.compute.engine import Engine
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan
from svdflow.svd.read.converted_panels import Panel, Panels
from svdflow.svd.read.facts import Facts, facts_of
from svdflow.svd.read.panel_work import LastRead, LastSums, Sums
from svdflow.svd.read.sparse_work import SparseProducts
from svdflow.svd.subspace import Reader


class SparseReader(Reader):
    """Of a sparse matrix in memory: products by slices of the block instead of panels."""

    _scaled: tuple[float, Any] | None = None
    _own: SparseProducts | None = None

    def _sums(self, X: np.ndarray | None, first: bool, scratch: Any = None, kept: int = 0) -> Sums:
        if self._by_panels:
            return super()._sums(X, first)
        facts = Facts()
        if first:
            facts = facts_of(self.panels, Panel(self._matrix(), None, None), 0, self.plan.wide)
            if facts.non_finite is not None:
                return Sums(0.0, facts)
        if X is None:
            return Sums(super()._sums(X, False).product, facts)
        return Sums(adjoint(self._products(self.work).gram_times(X)), facts)

    @property
    def _by_panels(self) -> bool:
        return "rows" in (self.panels.center, self.panels.standardize)

    def _last(self, task: LastRead) -> LastSums:
        if self._by_panels:
            return super()._last(task)
        Y = np.empty((self.plan.tall.shape[0], task.kept), task.dtype)
        shift = None if task.mean is None else task.mean @ task.X
        image = self._products(task.dtype).gram_times(task.X, shift=shift, keep=Y)
        if task.mean is not None:
            # Columns of Y add up to rounding, which is no little part of them where little but the mean is there.
            image[:, : task.kept] -= np.outer(task.mean.conj(), Y.sum(axis=0, dtype=self.plan.wide))
        return self._settled(task, Y, image)

    def write_rows(self, blocks: tuple[tuple[np.ndarray, Any, int], ...]) -> None:
        if self._by_panels:
            super().write_rows(blocks)
            return
        for X, scratch, width in blocks:
            self._products(self.plan.work).write_rows(X[:, :width], scratch)

    def _matrix(self) -> Any:
        """All of it, scaled."""
        if self._scaled is None or self._scaled[0] != self.panels.scale:
            A = self.plan.tall.csr()
            self._scaled = (self.panels.scale, A * self.panels.scale if self.panels.scale != 1 else A)
        return self._scaled[1]

    def _products(self, dtype: np.dtype) -> SparseProducts:
        """With the matrix; those of the last read are kept, as are the entries that they converted."""
        matrix = self._matrix()
        if self._own is None or self._own.matrix is not matrix or self._own.work != dtype:
            self._own = SparseProducts(matrix, dtype, self.engine)
        return self._own


def reader_for(plan: Plan, panels: Panels, engine: Engine, journal: Any = None, rows: Any = None) -> Reader:
    """The reader that suits the matrix. A sparse one in memory stays here, wherever the engine is."""
    if plan.tall.sparse and plan.tall.in_memory:
        return SparseReader(plan, panels, engine if engine.shared_memory else Engine(), journal, rows)
    return Reader(plan, panels, engine, journal, rows)
