"""Rows of ``A K`` that reads leave behind, so that no other read is needed for U.

A read of block X makes ``Y = A X`` on the way. Kept, block beside block, those rows are ``A K``: once the coefficients
C of the triplets are known, ``U = A K C`` is a product of them, a fraction of a read. It is worth
its room as long as the basis is narrow beside the matrix. Beside a sparse matrix no basis is narrow: there
``U = A (K C)`` are the products of half a read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from svdflow.compute.engine import Engine
from svdflow.svd.certificates import left_by_U, spectral_certificate
from svdflow.svd.orthonormal import adjoint, orthonormal_columns
from svdflow.svd.plan import Plan
from svdflow.svd.random_blocks import filling
from svdflow.svd.read.last_read import Factors, thin_svd, write_rows
from svdflow.svd.scratch import scratch_for
from svdflow.svd.subspace import Reader, Subspace

# Columns of the basis over the shorter side up to which rows are kept: they take that share of the matrix, and U an
# eighth of the operations of a last read (chosen).
KEPT_SHARE = 1 / 4
# Part by which ``U^H U`` of kept rows may be off the identity, which is what squares have lost: the tolerance, up to
# BELIED, and at least ROUNDING eps of the rows, whose own rounding it sees (chosen).
BELIED, ROUNDING = 1e-2, 8


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
    by_reads : bool
        Whether reads leave them behind. Else they are of one block, given at the end (`of`), by half a read.
    """

    def __init__(self, plan: Plan, *, on_disk: bool, folder: Any = None, by_reads: bool = True) -> None:
        self.plan, self.by_reads = plan, by_reads
        self.blocks: list[KeptBlock] = []
        self._make = partial(scratch_for, dtype=plan.work, on_disk=on_disk, folder=folder)

    def add(self, X: np.ndarray, width: int, *, read: bool) -> Any:
        """A place for the rows of the next block, where reads leave them."""
        if not self.by_reads:
            return None
        scratch = self._place(width) if read else None
        self.blocks.append(KeptBlock(X, width, scratch))
        return scratch

    def drop(self) -> None:
        """Forget the newest block, whose read is made anew."""
        if self.blocks:
            block = self.blocks.pop()
            if block.scratch is not None:
                block.scratch.close()

    def of(self, X: np.ndarray) -> None:
        """Rows of ``A X``, to be made by half a read, in the place of all others."""
        self.close()
        self.blocks.append(KeptBlock(X, X.shape[1], None))

    @property
    def fits(self) -> bool:
        """Whether they are still few beside the matrix."""
        columns = sum(block.width for block in self.blocks)
        return columns <= KEPT_SHARE * self.plan.tall.shape[1]

    def complete(self, reader: Reader) -> None:
        """Multiply those blocks that have no rows: half a read, where reads leave them after a kill only."""
        missing = [block for block in self.blocks if block.scratch is None]
        for block in missing:
            block.scratch = self._place(block.width)
        if missing:
            reader.write_rows(tuple((block.X, block.scratch, block.width) for block in missing))

    def times(self, C: np.ndarray, mean: np.ndarray | None) -> Callable[[tuple[int, int]], np.ndarray]:
        """Rows of ``(A - 1 mean^T) K C`` by their bounds; C has a row for each column of the basis."""
        parts, start = [], 0
        for block in self.blocks:
            T = block.transform
            own = C[start : start + (block.width if T is None else T.shape[1])]
            start += len(own)
            # Taken off before anything is multiplied: else rounding of the mean's part would be all that is left of
            # small columns of U.
            shift = None if mean is None else (mean @ block.X[:, : block.width]).astype(self.plan.work)
            # Rows hold no more digits than their own, nor does what is made of them.
            parts.append((block.scratch, shift, (own if T is None else T @ own).astype(self.plan.work)))

        def rows(bounds: tuple[int, int]) -> np.ndarray:
            kept = ((scratch.read(*bounds), shift, own) for scratch, shift, own in parts)
            products = ((Y if shift is None else Y - shift) @ own for Y, shift, own in kept)
            first = next(products)
            for other in products:
                first += other
            return first

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


def kept_factors(plan: Plan, found: Subspace, reader: Reader, *, phase: Any = None) -> Factors | None:
    """Factors of rows that were kept; parameters as of `svdflow.svd.read.last_read.last_read`.

    None where the rows belie what the search knows: then `found` is one that a last read settles.
    """
    kept: KeptFactors = found.kept
    kept.rows.complete(reader)
    engine = reader.engine if reader.engine.shared_memory else Engine()
    make = kept.rows.times(kept.C, found.mean)
    # U is orthonormal but for rounding of squares, which its own rows take off: it is near enough for its own square.
    values, T = np.linalg.eigh(engine.reduce(partial(_gram, make, plan.wide), plan.groups, np.add))
    if not np.abs(values - 1).max() <= max(min(plan.tol, BELIED), ROUNDING * np.finfo(plan.output).eps):
        _leave_to_last_read(found, reader)
        return None
    T = T / np.sqrt(values)
    X, s, Zh = thin_svd(kept.AhU @ T, single=plan.output != plan.wide)
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
        write,
        lambda: None,
        s,
        V,
        kept.residuals[:k],
        k,
        True,
        kept.before,
        work,
        spectral,
        reads=0 if kept.rows.by_reads else 1,
    )


def _leave_to_last_read(found: Subspace, reader: Reader) -> None:
    """Right vectors in the place of rows."""
    kept: KeptFactors = found.kept
    if not kept.rows.by_reads:
        reader.reads += 1
        found.reads += 1
    n, dtype = kept.AhU.shape[0], kept.AhU.dtype
    lengths = np.linalg.norm(kept.AhU, axis=0)
    found.V = orthonormal_columns(
        kept.AhU / np.where(lengths > 0, lengths, 1),
        lambda count: filling(n, count, dtype),
    )
    found.kept = None


def _gram(make: Any, wide: np.dtype, group: Any) -> np.ndarray:
    parts = (rows.astype(wide, copy=False) for rows in map(make, group))
    return np.asarray(sum(adjoint(rows) @ rows for rows in parts))
