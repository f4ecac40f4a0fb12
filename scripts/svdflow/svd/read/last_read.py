"""The last read: from right Ritz vectors V to U, s, Vt and their certificates.

``Y = A V`` and ``W = A^H Y`` in one read, of V and of a few random probes for the spectral certificate. In double
precision, unless the matrix is in single precision and what the factors leave of it is large: then single resolves the
error to four digits, and products cost half. Y waits in a scratch while its triangular factor R
(TSQR) and W tell everything of the longer side: singular values to ``eps s_1``, exact residuals, and the matrix M
that makes ``U = Y M``. So U is written once, in order, and never needs to be in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from svdflow.compute.engine import Engine
from svdflow.svd.certificates import (
    SpectralCertificate,
    left_by_U,
    left_by_V,
    pair_residuals,
    spectral_certificate,
)
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan
from svdflow.svd.random_blocks import COMPLETION, gaussian, probe_vectors
from svdflow.svd.read.facts import Facts
from svdflow.svd.read.panel_work import LastRead, triangle
from svdflow.svd.scratch import scratch_for
from svdflow.svd.subspace import Reader, Subspace

# s_i / s_1 above which U and s are taken half a step further by the SVD of A^H U. It works with squares, whose error
# relative to s_i^2 is eps (s_1 / s_i)^2: 2e-6 at this floor.
POLISH_FLOOR = 1e-5
REFINE = 1e2  # s_1 / s_k above which U = Y M, orthonormal to eps s_1 / s_k, is orthonormalized once more
# Where the factors leave more than BLUNT of the energy, single precision too tells its square, to
# eps / BLUNT or 1e-5, and the last read of such a matrix is in that; not for tolerances below SHARP, which ask for more
# digits in the triplets themselves.
BLUNT, SHARP = 1e-2, 1e-4
# Least over largest singular value for which factors in single precision may come from squares in double: what they
# make of U is orthogonal to eps (s_1 / s_l)^2, 2.5e-9.
LEAST_SPREAD = 3e-4

Rows = Callable[[Any], np.ndarray]  # from bounds to rows of U


@dataclass
class Factors:
    """Of the tall matrix as it was scaled: ``A V = U s``, and U comes from `write_U`.

    `before` are the singular values of ``A V``, half a step before `s`; `reads` is how many made the factors; `U` is
    the whole left factor where it is in memory, and `block` V with ``A^H A V``, where a read made them.
    """

    write_U: Callable[[Callable[[int, np.ndarray], Any]], None]
    close: Callable[[], None]
    s: np.ndarray
    V: np.ndarray
    residuals: np.ndarray
    numerical_rank: int
    polished: bool
    before: np.ndarray
    dtype: np.dtype
    spectral: SpectralCertificate
    reads: int = 1
    U: np.ndarray | None = None
    block: tuple[np.ndarray, np.ndarray] | None = None


def last_read(
    plan: Plan,
    found: Subspace,
    reader: Reader,
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
    m, n = plan.tall.shape
    engine, width = reader.engine, found.V.shape[1]
    on_disk = on_disk or not engine.shared_memory
    dtype = precision(plan, found.norm_squared - found.captured, found.norm_squared, found.spread)
    by_square = plan.output != plan.wide and found.spread > LEAST_SPREAD
    probes = probe_vectors(seed, n, plan.wide, dtype)
    X = np.concatenate([found.V, probes], axis=1)
    scratch = scratch_for((m, width), plan.output, on_disk=on_disk, folder=folder)
    try:
        task = LastRead(found.panels, X, width, found.mean, scratch, dtype, by_square)
        sums = reader.last(task)
        dtype = reader.resolution(dtype)
        _correct_norm(plan, found, sums.facts)
        image = adjoint(sums.product) + _of_a_better_mean(plan, found, sums.facts, X)
        M, s, V, residuals, rank, polished, before, projected = _settle(
            plan, found, image[:, :width], sums.triangle()
        )
        images = image[:, width:]
        left = (
            left_by_U(probes, images, projected)
            if polished
            else left_by_V(probes, images, V[:, :rank], projected)
        )
        spectral = spectral_certificate(
            probes,
            left,
            norm_squared=found.known_norm,
            s=s,
            eps=_eps(dtype),
            output=plan.output,
        )
        if phase is not None:
            unit = phase(V)
            M, V = M / unit[: M.shape[1]], V / unit
        missing = len(s) - rank
        make: Rows = partial(_rows_of_U, scratch, M, missing, seed, plan.output)
        if missing or s[0] > REFINE * s[rank - 1]:
            make, condition = _refined(engine, plan, make)
            if condition > REFINE:  # what is left of it is eps times that
                make, _ = _refined(engine, plan, make)
    except BaseException:
        scratch.close()
        raise
    local = engine if engine.shared_memory else Engine()
    write = partial(write_rows, local, make, plan.bounds)
    block = found.V, image[:, :width]
    return Factors(
        write, scratch.close, s, V, residuals, rank, polished, before, dtype, spectral, block=block
    )


def precision(plan: Plan, left: float, energy: float, spread: float) -> np.dtype:
    """Of the products that give the factors, by the energy that these leave and by s_l / s_1."""
    blunt = left > BLUNT * energy
    return plan.work if blunt and plan.tol >= SHARP and spread > LEAST_SPREAD else plan.wide


def _correct_norm(plan: Plan, found: Subspace, facts: Facts) -> None:
    """``||A||_F^2`` anew, where the last read saw it in more digits than the first."""
    if not facts.norm_squared:
        return
    found.norm_squared, found.uncentred = facts.norm_squared, facts.uncentred
    if found.deviation is not None:
        found.uncentred = facts.energy(found.deviation)
        found.norm_squared = facts.energy(found.deviation, 0.0 if found.mean is None else found.mean)
    elif found.mean is not None:
        # ||A - 1 mu^T||^2 for the mean that was taken off, whatever digits it lacks.
        cross = float(np.vdot(facts.column_sums, found.mean).real)
        square = plan.tall.shape[0] * float(np.vdot(found.mean, found.mean).real)
        found.norm_squared = max(0.0, facts.norm_squared - 2 * cross + square)


def _of_a_better_mean(plan: Plan, found: Subspace, facts: Facts, X: np.ndarray) -> Any:
    """What ``A^H A X`` lacks where the mean that was taken off the rows of ``A X`` is off in its last digits.

    Those rows add up to ``m (mu - mean)^T X`` then, for the mean mu that this read saw, and that meets mu in ``A^H Y``.
    """
    if facts.column_sums is None or found.mean is None:
        return 0.0
    mu, unit = facts.column_sums / facts.rows, 1.0 if found.deviation is None else found.deviation
    return facts.rows * np.outer((mu / unit).conj(), ((found.mean - mu) / unit) @ X)


def _settle(plan: Plan, found: Subspace, W: np.ndarray, R: np.ndarray) -> tuple[Any, ...]:
    """Singular values and vectors from ``R`` and ``W``; see the module's docstring.

    The last of what it gives tells of the projection that the factors are: ``A^H U`` where polished, else ``A^H A V``.
    """
    _, s, Th = np.linalg.svd(R)
    before = s
    T = adjoint(Th)
    alive = s > max(plan.tall.shape) * np.finfo(float).eps * s[0]
    k = found.rank or plan.target.choose(s, found.norm_squared) or len(s)
    k = max(1, min(k, len(s)))
    rank = min(k, int(np.count_nonzero(alive)))
    M = T[:, :rank] / s[:rank]
    V = found.V @ T
    residuals = np.zeros(k)
    residuals[:rank] = pair_residuals(W @ M, s[:rank], V[:, :rank])
    firm = int(np.count_nonzero(s > POLISH_FLOOR * s[0]))
    if found.exact or firm < k or rank < k:
        values = np.where(np.arange(k) < rank, s[:k], 0.0)
        return M, values, V[:, :k], residuals, rank, False, before, W @ T[:, :rank]
    # A^H times an orthonormal basis of A V; its singular value decomposition is half a step better.
    M = T[:, :firm] / s[:firm]
    X, s, Zh = thin_svd(W @ M, single=plan.output != plan.wide)
    k = max(1, min(plan.target.choose(s, found.norm_squared) or k, k))
    AhU = X[:, :k] * s[:k]
    return M @ adjoint(Zh)[:, :k], s[:k], X[:, :k], residuals[:k], k, True, before, AhU


def thin_svd(C: np.ndarray, *, single: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SVD of a matrix of few columns; by ``C^H C`` for single precision and values that are not far apart."""
    if single:
        squares, Z = np.linalg.eigh(adjoint(C) @ C)
        if squares[0] > LEAST_SPREAD**2 * squares[-1]:
            s, Z = np.sqrt(squares[::-1]), Z[:, ::-1]
            return C @ (Z / s), s, adjoint(Z)
    return np.linalg.svd(C, full_matrices=False)


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


def _refined(engine: Engine, plan: Plan, make: Rows) -> tuple[Rows, float]:
    """Rows over their triangular factor, and its condition number."""
    R = _positive(engine.reduce(partial(_triangle_of_rows, make), plan.groups, triangle))
    return partial(_refined_rows, make, np.linalg.inv(R)), float(np.linalg.cond(R))


def _refined_rows(make: Rows, correction: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    return make(bounds) @ correction


def _triangle_of_rows(make: Rows, group: Any) -> np.ndarray:
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


def write_rows(engine: Engine, make: Rows, bounds: Any, write: Callable[[int, np.ndarray], Any]) -> None:
    for (start, _), rows in zip(bounds, engine.stream(make, bounds), strict=True):
        write(start, rows)


def _eps(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).eps)
