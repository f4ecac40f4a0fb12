"""Rows of ``A K`` that reads leave behind, so that no other read is needed for U.

A read of block X makes ``Y = A X`` on the way. Kept, block beside block, those rows are ``A K``: once the coefficients
C of the triplets are known, ``U = A K C`` is a product of them, a fraction of a read. It is worth
its room as long as the basis is narrow beside the matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from svdflow.compute.engine import Engine
from svdflow.svd.certificates import left_by_U, spectral_certificate
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan
from svdflow.svd.read.last_read import Factors, thin_svd, write_rows
from svdflow.svd.read.panel_work import RowsRead, triangle
from svdflow.svd.scratch import scratch_for
from svdflow.svd.subspace import Reader, Subspace

# Columns of the basis over the shorter side up to which rows are kept: they take that share of the matrix, and U an
# eighth of the operations of a last read (chosen).
KEPT_SHARE = 1 / 4


@dataclass
class KeptBlock:
    """Rows of ``A X``, its first `width` columns; None in `scratch` where a checkpoint knew the sums of their read.

    `transform` makes the columns of the basis of those of X, where it is not one.
    """

    X: np.ndarray
    width: int
    scratch: Any
    transform: np.ndarray | None = None


class KeptRows:
    """The rows of all blocks.

    Parameters
    ----------
    plan : Plan
    on_disk : bool
        In temporary files (in `folder`) rather than in memory.
    """

    def __init__(self, plan: Plan, *, on_disk: bool, folder: Any = None) -> None:
        self.plan = plan
        self.blocks: list[KeptBlock] = []
        self._make = partial(scratch_for, dtype=plan.output, on_disk=on_disk, folder=folder)

    def add(self, X: np.ndarray, width: int, *, read: bool) -> Any:
        """A place for the rows of the next block."""
        scratch = self._place(width) if read else None
        self.blocks.append(KeptBlock(X, width, scratch))
        return scratch

    def drop(self) -> None:
        """Forget the newest block, whose read is made anew."""
        block = self.blocks.pop()
        if block.scratch is not None:
            block.scratch.close()

    @property
    def fits(self) -> bool:
        """Whether they are still few beside the matrix."""
        columns = sum(block.width for block in self.blocks)
        return columns <= KEPT_SHARE * self.plan.tall.shape[1]

    def complete(self, reader: Reader) -> None:
        """Multiply those blocks whose sums a checkpoint knew: one read more, after a kill only."""
        missing = [block for block in self.blocks if block.scratch is None]
        for block in missing:
            block.scratch = self._place(block.width)
        if missing:
            task = RowsRead(reader.panels, tuple((block.X, block.scratch, block.width) for block in missing))
            reader.engine.reduce(task, self.plan.groups, _done)

    def times(self, C: np.ndarray, mean: np.ndarray | None) -> Callable[[tuple[int, int]], np.ndarray]:
        """Rows of ``(A - 1 mean^T) K C`` by their bounds; C has a row for each column of the basis."""
        parts, shift, start = [], 0.0, 0
        for block in self.blocks:
            T = block.transform
            own = C[start : start + (block.width if T is None else T.shape[1])]
            start += len(own)
            own = own if T is None else T @ own
            parts.append((block.scratch, own))
            if mean is not None:
                shift = shift + (mean @ block.X[:, : block.width]) @ own

        def rows(bounds: tuple[int, int]) -> np.ndarray:
            products = (scratch.read(*bounds) @ own for scratch, own in parts)
            return np.asarray(sum(products, -shift))

        return rows

    def close(self) -> None:
        while self.blocks:
            self.drop()

    def _place(self, width: int) -> Any:
        return self._make((self.plan.tall.shape[0], width))


@dataclass
class KeptFactors:
    """What a search knows of its triplets: ``U = A K C`` to rounding, and ``A^H U``.

    `before` are singular values half a step before, `residuals` those of their triplets; `images` are of `probes`.
    """

    rows: KeptRows
    C: np.ndarray
    AhU: np.ndarray
    before: np.ndarray
    residuals: np.ndarray
    probes: np.ndarray
    images: np.ndarray


def kept_factors(plan: Plan, found: Subspace, reader: Reader, *, phase: Any = None) -> Factors:
    """Factors of rows that were kept; parameters as of `svdflow.svd.read.last_read.last_read`."""
    kept: KeptFactors = found.kept
    kept.rows.complete(reader)
    engine = reader.engine if reader.engine.shared_memory else Engine()
    make = kept.rows.times(kept.C, found.mean)
    # U is orthonormal but for rounding of squares, which its own rows take off.
    square = plan.output != plan.wide
    sums = engine.reduce(
        partial(_gram if square else _triangle, make), plan.groups, np.add if square else triangle
    )
    if square:
        values, T = np.linalg.eigh(sums)
        T = T / np.sqrt(values)
    else:
        _, r, Th = np.linalg.svd(sums)
        T = adjoint(Th) / r
    X, s, Zh = thin_svd(kept.AhU @ T, single=square)
    k = max(1, plan.target.choose(s, found.norm_squared) or len(kept.residuals))
    T, V, s = T @ adjoint(Zh)[:, :k], X[:, :k], s[:k]
    work = plan.work
    eps = float(np.finfo(work).eps)
    left = left_by_U(kept.probes, kept.images, V * s)
    spectral = spectral_certificate(
        kept.probes, left, norm_squared=found.known_norm, s=s, eps=eps, output=plan.output
    )
    if phase is not None:
        unit = phase(V)
        T, V = T / unit, V / unit
    write = partial(write_rows, engine, kept.rows.times(kept.C @ T, found.mean), plan.bounds)
    return Factors(
        write, lambda: None, s, V, kept.residuals[:k], k, True, kept.before, work, spectral, reads=0
    )


def _done(one: None, other: None) -> None:
    """What tasks that only write add up to."""


def _gram(make: Any, group: Any) -> np.ndarray:
    return np.asarray(sum(adjoint(rows) @ rows for rows in map(make, group)))


def _triangle(make: Any, group: Any) -> np.ndarray:
    R: Any = None
    for rows in map(make, group):
        R = triangle(rows) if R is None else triangle(R, rows)
    return R
