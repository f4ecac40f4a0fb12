"""Factors of a matrix whose ``A^H A`` is known, by half a read.

With ``A^H A = V s^2 V^H`` the left factor is ``U = A V / s``, one product, and everything else of the longer side
follows from ``A^H A``: ``A^H U`` for the residuals, the images of the probes for the spectral certificate. Squares cost
digits, ``eps (s_1 / s_k)^2`` of orthonormality: where that is more than rounding of U, ``U^H U`` takes them back.
"""

from functools import partial
from typing import Any

import numpy as np

from svdflow.compute.engine import Engine
from svdflow.svd.certificates import left_by_V, pair_residuals, spectral_certificate
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan
from svdflow.svd.random_blocks import probe_vectors
from svdflow.svd.read.last_read import LEAST_SPREAD, REFINE, Factors, precision, write_rows
from svdflow.svd.scratch import MemoryScratch, scratch_for
from svdflow.svd.subspace import Reader, Subspace

# Rounding of ``A^H A`` over ``eps ||A||_2^2``: sums in single of 40,000 x 1,000 and x 100, flat, i^-1/2 and 1 / i,
# real and complex, were off by 0.03 to 1.03 of it.
SQUARES = 4


def square_is_enough(plan: Plan, found: Subspace) -> bool:
    """Whether half a read gives the triplets all digits: those that squares lose are few, and nobody asks for more.

    `found` knows all singular values, and how many are wanted.
    """
    assert found.spectrum is not None and found.rank is not None
    s, k = found.spectrum, found.rank
    if plan.tall.sparse or not s[0]:
        return False
    spread = float(s[k - 1] / s[0])
    left = found.norm_squared - float(np.sum(s[:k] ** 2))
    least = 1 / REFINE if plan.output == plan.wide else LEAST_SPREAD
    if spread <= least or precision(plan, left, found.norm_squared, spread) != plan.work:
        return False
    return k == len(s) or _lost(plan, found) <= max(
        plan.tol * s[k] ** 2, float(np.finfo(plan.output).eps) * s[0] * s[k - 1]
    )


def _lost(plan: Plan, found: Subspace) -> float:
    """How far rounding of ``A^H A`` may set squared values back.

    An error E mixes wanted vectors with others. Of their trace that takes ``||E||`` at most (Ky Fan 1949), and
    ``||E||^2 / gap`` to first order (Kato 1949).
    """
    s, k = found.spectrum, found.rank
    assert s is not None and k is not None
    largest = max(float(s[0]) ** 2, found.uncentred - found.norm_squared)
    noise = SQUARES * float(np.finfo(plan.work).eps) * largest
    gap = float(s[k - 1] ** 2 - s[k] ** 2)
    return noise * min(1.0, noise / gap if gap > 0 else 1.0)


def square_factors(
    plan: Plan,
    found: Subspace,
    reader: Reader,
    seed: int,
    *,
    on_disk: bool,
    folder: Any = None,
    phase: Any = None,
) -> Factors:
    """Read A for U; parameters as of `svdflow.svd.read.last_read.last_read`."""
    assert found.gram is not None and found.spectrum is not None and found.rank is not None
    G, k, engine = found.gram, found.rank, reader.engine
    (m, n), on_disk = plan.tall.shape, on_disk or not engine.shared_memory
    s, V = found.spectrum[:k], found.V[:, :k]
    # Rounding of A^H A shows in U where it is that of U's own numbers, or more.
    anew = np.finfo(plan.work).eps >= np.finfo(plan.output).eps
    if phase is not None and not anew:
        V = V / phase(V)
    scratch = scratch_for((m, k), plan.output, on_disk=on_disk, folder=folder)
    try:
        square = reader.image(V / s, scratch, square=anew)
        C = None
        if square is not None:
            # U^H U is near 1: its Cholesky factor has all digits, and that of A V those of s (graded by columns).
            near = adjoint(np.linalg.cholesky(square))
            Q, s, Th = np.linalg.svd(near * s)
            C, V = np.linalg.solve(near, Q), V @ adjoint(Th)
            unit = 1.0 if phase is None else phase(V)
            C, V = C / unit, V / unit
        AhAV = G @ V
        probes = probe_vectors(seed, n, plan.wide, plan.wide)
        spectral = spectral_certificate(
            probes,
            left_by_V(probes, G @ probes, V, AhAV),
            norm_squared=found.norm_squared,
            s=s,
            eps=float(np.finfo(plan.work).eps),
            output=plan.output,
        )
        U = _in_place(engine, scratch, C, plan.bounds) if isinstance(scratch, MemoryScratch) else None
    except BaseException:
        scratch.close()
        raise
    return Factors(
        partial(
            write_rows, engine if engine.shared_memory else Engine(), partial(_rows, scratch, C), plan.bounds
        ),
        scratch.close,
        s,
        V,
        pair_residuals(AhAV / s, s, V),
        k,
        False,
        np.concatenate([s, found.spectrum[k : k + 1]]),
        plan.work,
        spectral,
        U=U,
    )


def _in_place(engine: Engine, scratch: MemoryScratch, C: np.ndarray | None, bounds: Any) -> np.ndarray:
    """All rows of U where they wait."""
    if C is not None:
        engine.reduce(lambda one: scratch.write(one[0], _rows(scratch, C, one)), bounds, lambda *_: None)
    return scratch.rows


def _rows(scratch: Any, C: np.ndarray | None, bounds: tuple[int, int]) -> np.ndarray:
    rows = scratch.read(*bounds)
    return np.asarray(rows if C is None else rows @ C.astype(rows.dtype))
