"""The last read: from right Ritz vectors V to U, s, Vt and their certificates.

``Y = A V`` and ``W = A^H Y`` in one read, in double precision. Y waits in a scratch while its triangular factor R
(TSQR) and W tell everything of the longer side: singular values to ``eps s_1``, exact residuals, and the matrix M
that makes ``U = Y M``. So U is written once, in order, and never needs to be in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from svdflow.engine import Engine
from svdflow.linalg.certificates import pair_residuals
from svdflow.linalg.orthonormal import adjoint
from svdflow.linalg.panelwork import LastRead, LastSums, triangle
from svdflow.linalg.plan import Plan
from svdflow.linalg.random import COMPLETION, gaussian
from svdflow.linalg.scratch import FileScratch, MemoryScratch
from svdflow.linalg.subspace import Subspace

POLISH_FLOOR = (
    1e-5  # s_i / s_1; polishing works with squares, whose error relative to s_i^2 is eps (s_1 / s_i)^2
)
REFINE = 1e4  # s_1 / s_k above which U = Y M is orthonormalized once more


@dataclass
class Factors:
    """Of the tall matrix as it was scaled: ``A V = U s``. `U` is None where the writer took it."""

    write_U: Callable[[Callable[[int, np.ndarray], Any]], None]
    close: Callable[[], None]
    s: np.ndarray
    V: np.ndarray
    residuals: np.ndarray
    numerical_rank: int
    polished: bool


def last_read(
    plan: Plan,
    found: Subspace,
    engine: Engine,
    seed: int,
    *,
    on_disk: bool,
    folder: Any = None,
    phase: Any = None,
) -> Factors:
    """Read A once more and settle the factors; rows of U are made when `Factors.write_U` is called.

    Parameters
    ----------
    on_disk : bool
        Keep Y in a temporary file (in `folder`) rather than in memory.
    phase : callable, optional
        From V (n, k) to the unit numbers by which each pair is divided.
    """
    m = plan.tall.shape[0]
    shape = (m, found.V.shape[1])
    on_disk = on_disk or not engine.shared_memory
    scratch = FileScratch(shape, plan.output, folder) if on_disk else MemoryScratch(shape, plan.output)
    try:
        sums = engine.reduce(LastRead(found.panels, found.V, found.mean, scratch), plan.groups, LastSums.plus)
        M, s, V, residuals, rank, polished = _settle(plan, found, sums)
        if phase is not None:
            unit = phase(V)
            M, V = M / unit[: M.shape[1]], V / unit
        missing = len(s) - rank
        make = partial(_rows_of_U, scratch, M, missing, seed, plan.output)
        if missing or s[0] > REFINE * s[rank - 1]:
            R = engine.reduce(partial(_triangle_of_rows, make), plan.groups, triangle)
            make = partial(_refined_rows, make, np.linalg.inv(_positive(R)))
    except BaseException:
        scratch.close()
        raise
    local = engine if engine.shared_memory else Engine()
    return Factors(partial(_write, local, make, plan.bounds), scratch.close, s, V, residuals, rank, polished)


def _settle(plan: Plan, found: Subspace, sums: LastSums) -> tuple:
    """Singular values and vectors from ``R`` and ``W``; see the module's docstring."""
    _, s, Th = np.linalg.svd(sums.R)
    T = adjoint(Th)
    alive = s > max(plan.tall.shape) * np.finfo(float).eps * s[0]
    k = found.rank or plan.target.choose(s, found.norm_squared) or len(s)
    k = max(1, min(k, len(s)))
    rank = min(k, int(np.count_nonzero(alive)))
    M = T[:, :rank] / s[:rank]
    V = found.V @ T
    AhU = sums.W @ M
    residuals = np.zeros(k)
    residuals[:rank] = pair_residuals(AhU, s[:rank], V[:, :rank])
    firm = int(np.count_nonzero(s > POLISH_FLOOR * s[0]))
    if found.exact or firm < k or rank < k:
        values = np.where(np.arange(k) < rank, s[:k], 0.0)
        return M, values, V[:, :k], residuals, rank, False
    # A^H times an orthonormal basis of A V; its singular value decomposition is half a step better.
    M = T[:, :firm] / s[:firm]
    X, s, Zh = np.linalg.svd(sums.W @ M, full_matrices=False)
    k = max(1, min(plan.target.choose(s, found.norm_squared) or k, k))
    return M @ adjoint(Zh)[:, :k], s[:k], X[:, :k], residuals[:k], k, True


def _rows_of_U(
    scratch: Any, M: np.ndarray, missing: int, seed: int, dtype: np.dtype, bounds: tuple[int, int]
) -> np.ndarray:
    """Rows of ``Y M``, with random columns in the place of vectors whose singular value is zero."""
    start, stop = bounds
    rows = scratch.read(start, stop) @ M
    if not missing:
        return rows
    drawn = gaussian(seed, stop - start, missing, first_row=start, dtype=M.dtype, domain=COMPLETION)
    return np.concatenate([rows, drawn], axis=1)


def _refined_rows(make: Callable, correction: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    return make(bounds) @ correction


def _triangle_of_rows(make: Callable, group: Any) -> np.ndarray:
    R: Any = None
    for bounds in group:
        R = triangle(make(bounds)) if R is None else triangle(R, make(bounds))
    return R


def _positive(R: np.ndarray) -> np.ndarray:
    """R with a positive diagonal, so that dividing by it turns no column round."""
    diagonal = np.diagonal(R)
    length = np.abs(diagonal)
    unit = np.where(length > 0, diagonal / np.where(length > 0, length, 1), 1)
    return unit.conj()[:, None] * R


def _write(engine: Engine, make: Callable, bounds: Any, write: Callable[[int, np.ndarray], Any]) -> None:
    for (start, _), rows in zip(bounds, engine.stream(make, bounds), strict=True):
        write(start, rows)
