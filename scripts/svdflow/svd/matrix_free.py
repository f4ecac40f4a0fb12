"""Factorizations of operators: reads that are products, and what must be known without entries.

A read is a product with A and one with ``A^H``, of a whole block. There are no panels to sum over, so precision is that
of the operator. What else the first read of a matrix tells has another source: a mean is a product with ones; the
Frobenius norm is given, or estimated. For an orthonormal basis K and standard Gaussian w that are independent of each
other,

    ||A||_F^2 = ||A K||_F^2 + E ||A (I - K K^H) w||^2,

so only what K leaves is estimated, without bias (Meyer, Musco, Musco and Woodruff 2021, Hutch++, for ``A^H A``).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from svdflow.compute.engine import Engine
from svdflow.errors import SourceError
from svdflow.matrix.operators import OperatorSource
from svdflow.matrix.sources import MatrixSource
from svdflow.registry import AUTO, SVD_METHODS
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan, Target
from svdflow.svd.random_blocks import probe_vectors
from svdflow.svd.read.converted_panels import Panels
from svdflow.svd.read.facts import Facts
from svdflow.svd.read.moments import SAFE_NORM
from svdflow.svd.read.panel_work import LastRead, LastSums, Sums
from svdflow.svd.result import SVDResult
from svdflow.svd.subspace import Reader, Subspace, unit_scale
from svdflow.svd.widths import FIRST_BLOCK, first_width

# Entries up to which an operator may be formed: 8 MB of float64, and at most 1024 products (chosen).
FORMED_ENTRIES = 2**20
# Blocks whose columns together make a short side that is formed by method ``auto``: a search takes three reads of two
# products each, and then knows less (chosen).
FORMED_BLOCKS = 4
# Part of ``||x|| ||A^H A x||`` by which ``<x, A^H A x>`` and ``||A x||^2`` may differ, by bytes of a real number. A
# wrong adjoint misses by about all of it; products of an iterative solver that are exact to six digits pass (chosen).
ADJOINT = {4: 1e-3, 8: 1e-5}


class OperatorReader(Reader):
    """Of an `OperatorSource`: the first read takes probes along, by which the Frobenius norm is estimated."""

    def __init__(self, plan: Plan, panels: Panels, engine: Engine, rows: Any, seed: int) -> None:
        super().__init__(plan, panels, engine if engine.shared_memory else Engine(), None, rows)
        assert isinstance(plan.tall, OperatorSource)
        self.operator = plan.tall
        self.probes = probe_vectors(seed, plan.tall.shape[1], plan.wide, plan.work)
        self._narrow: np.dtype | None = None  # of products that came in fewer digits than were asked for

    def gram_times(self, X: np.ndarray | None, *, kept: int | None = None) -> np.ndarray:
        assert X is not None  # methods that form A^H A form A
        if self.reads:
            return self._image(X, kept)
        b = X.shape[1]
        image = self._image(np.concatenate([X, self.probes], axis=1), b)
        image, self.images = image[:, :b], image[:, b:]
        if self.operator.norm_squared is not None:
            self._know(self.operator.norm_squared * self.panels.scale * self.panels.scale)
        self.refine(X, image, adjoint(X) @ image)
        return image

    def refine(self, K: np.ndarray, Z: np.ndarray, G: np.ndarray) -> None:
        if self.operator.norm_squared is not None or self.images is None:
            return
        c, d = adjoint(K) @ self.probes, adjoint(Z) @ self.probes
        left = (
            np.sum(self.probes.conj() * self.images) - 2 * np.sum(c.conj() * d) + np.sum(c.conj() * (G @ c))
        )
        self._know(float(np.trace(G).real) + max(0.0, float(left.real) / self.probes.shape[1]))

    def resolution(self, asked: np.dtype) -> np.dtype:
        return asked if self._narrow is None else self._narrow

    def found(self, V: np.ndarray, method: str, reason: str, *, exact: bool, **more: Any) -> Subspace:
        estimated = self.operator.norm_squared is None
        return super().found(V, method, reason, exact=exact, norm_estimated=estimated, **more)

    def _know(self, norm_squared: float) -> None:
        self.norm_squared = norm_squared
        self.uncentred = max(norm_squared, self.operator.uncentred * self.panels.scale * self.panels.scale)

    def _sums(self, X: np.ndarray | None, first: bool, scratch: Any = None, kept: int = 0) -> Sums:
        assert X is not None
        first = self.reads == 1
        Y = self._multiplied(self.operator.times, X, self.plan.work)
        if first:
            Y = self._in_range(Y)
        if scratch is not None:
            scratch.write(0, Y[:, :kept])
        Z = self._multiplied(self.operator.adjoint_times, Y, self.plan.work)
        if self._narrow is not None:
            raise SourceError(
                f"{self.operator.name}: products came in single precision, and method {self.plan.method!r} asks for "
                "double; take method 'krylov'"
            )
        if first:
            self._check_adjoint(X, Y, Z)
        return Sums(adjoint(Z.astype(self.plan.wide, copy=False)), Facts())

    def write_rows(self, blocks: tuple[tuple[np.ndarray, Any, int], ...]) -> None:
        for X, scratch, width in blocks:
            scratch.write(0, self._multiplied(self.operator.times, X[:, :width], self.plan.work))

    def _last(self, task: LastRead) -> LastSums:
        Y = self._multiplied(self.operator.times, task.X, task.dtype)
        image = self._multiplied(self.operator.adjoint_times, Y, task.dtype)
        return self._settled(task, Y[:, : task.kept], image.astype(self.plan.wide, copy=False))

    def _multiplied(
        self, product: Callable[[np.ndarray], np.ndarray], X: np.ndarray, dtype: np.dtype
    ) -> np.ndarray:
        out = product(X.astype(dtype, copy=False))
        if out.dtype != dtype:
            self._narrow = out.dtype
        if self.panels.scale != 1:
            out *= self.panels.scale
        return out

    def _in_range(self, Y: np.ndarray) -> np.ndarray:
        """Y, scaled with the operator by a power of two where sums of squares would leave the range of numbers."""
        low, high = SAFE_NORM[np.finfo(self.plan.output).dtype.itemsize]
        peak = float(np.abs(Y).max(initial=0.0))
        with np.errstate(over="ignore", under="ignore"):
            energy = (
                float(np.linalg.norm(Y.astype(self.plan.wide, copy=False))) ** 2 if peak < 1e150 else np.inf
            )
        if peak > 0 and not low < energy < high:
            self.panels = self.panels.rescaled(unit_scale(peak, self.plan.output))
            return np.asarray(Y * Y.dtype.type(self.panels.scale))
        return Y

    def _check_adjoint(self, X: np.ndarray, Y: np.ndarray, Z: np.ndarray) -> None:
        """``<x, A^H (A x)> = ||A x||^2`` for random x."""
        wide = self.plan.wide
        X, Y, Z = (block.astype(wide, copy=False) for block in (X, Y, Z))
        inner = np.sum(X.conj() * Z, axis=0)
        squares = np.sum(np.abs(Y) ** 2, axis=0)
        size = np.linalg.norm(X, axis=0) * np.linalg.norm(Z, axis=0)
        apart = np.abs(inner - squares) > ADJOINT[np.finfo(self.plan.work).dtype.itemsize] * np.maximum(
            size, squares
        )
        if apart.any():
            at = int(np.argmax(apart))
            found, due = (value / self.panels.scale / self.panels.scale for value in (inner[at], squares[at]))
            raise SourceError(
                f"{self.operator.name}: rmatmat is not the adjoint of matmat: <x, A^H (A x)> is {found:.6g} for a "
                f"random x, where ||A x||^2 is {due:.6g}; of a complex matrix the adjoint is the conjugate transpose"
            )


def without_entries(
    source: OperatorSource, target: Target, method: str, *, center: bool, scale: bool, checkpoint: Any
) -> MatrixSource:
    """What is factorized in the place of an operator: its centred one, or all entries of one that is small.

    Raises
    ------
    ValueError
        Entries are needed, and the operator is too large to be formed.
    """
    m, n = source.shape
    small = m * n <= FORMED_ENTRIES
    reason = ""
    if method != AUTO and SVD_METHODS[method].needs_entries:
        reason = f"method {method!r}"
    elif scale:
        reason = "scale=True"
    if small and (
        reason or (method == AUTO and min(m, n) <= FORMED_BLOCKS * first_width(target.rank or FIRST_BLOCK))
    ):
        return source.formed()
    if reason:
        raise ValueError(
            f"{source.name}: {reason} needs the entries of the matrix, and an operator of {m} x {n} is not formed "
            f"(at most {FORMED_ENTRIES:,} entries); "
            + (
                "divide columns by their deviations with OperatorSource.scaled"
                if scale
                else "take method 'auto', 'krylov', 'shift', 'lanczos' or 'rsvd'"
            )
        )
    if checkpoint is not None:
        raise ValueError(
            f"{source.name}: a checkpoint knows a matrix by its entries; leave it out for an operator"
        )
    return source.centred() if center else source


def with_products(result: SVDResult, source: MatrixSource, columns: int) -> SVDResult:
    """The result of what `without_entries` gave, and what its products were."""
    info = replace(result.info, columns_multiplied=columns)
    if not isinstance(source, OperatorSource):
        info = replace(info, notes=(*info.notes, "the operator was formed: a product for each unit vector"))
    elif source.mean is not None:
        info = replace(info, mean=source.mean)
    return replace(result, info=info)
