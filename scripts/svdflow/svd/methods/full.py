"""The whole matrix in memory, factorized by LAPACK."""

import numpy as np

from svdflow.matrix.dense import load_dense
from svdflow.matrix.sources import MatrixSource
from svdflow.svd.algorithm import Algorithm, Factorization
from svdflow.svd.assembly import delivered, resolved
from svdflow.svd.certificates import pair_residuals, tail_certificate, tail_spectral, values_resolution
from svdflow.svd.info import SVDInfo, in_units
from svdflow.svd.lapack import full_svd
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan, Target
from svdflow.svd.read.moments import column_moments, deviations, square_norm
from svdflow.svd.result import SVDResult
from svdflow.svd.signs import phases
from svdflow.svd.subspace import unit_scale


class Lapack(Algorithm):
    """``full``: exact, one read, three copies of the matrix in double precision."""

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        return (min(tall.shape),)

    def memory(self, plan: Plan, threads: int, *, keep_factor: bool = True) -> int:
        m, n = plan.tall.shape
        return m * n * (plan.tall.dtype.itemsize + 3 * plan.wide.itemsize)

    def factorize(self, task: Factorization) -> SVDResult:
        return delivered(by_lapack(task.source, task.plan, task.scale, task.seed), task.sink)


def by_lapack(source: MatrixSource, plan: Plan, standardized: bool, seed: int) -> SVDResult:
    """All singular values and vectors, of which the plan's target chooses."""
    A = load_dense(source)
    scale = unit = _unit_scale(A)
    A *= scale
    mean = deviation = None
    uncentred = 0.0
    if standardized:
        deviation = deviations(*column_moments(A, A.dtype), len(A), scale)
        unit = 1.0
    if plan.center:
        mean = A.mean(axis=0)
        uncentred = square_norm(A if deviation is None else A / deviation)
        A -= mean
    if deviation is not None:
        A /= deviation
    U, s, Vt = full_svd(A)
    k = plan.target.choose(s) or len(s)
    certificate = tail_certificate(s, k, output=plan.output, uncentred=uncentred)
    phase = phases(adjoint(Vt[:k]))
    left, right = U[:, :k] / phase, Vt[:k] * phase[:, None]
    rank = int(np.count_nonzero(s[:k] > max(source.shape) * np.finfo(float).eps * s[0]))
    info = SVDInfo(
        method="full",
        why=plan.why,
        rank=k,
        numerical_rank=rank,
        reads=1,
        reason="rank_deficient" if rank < k else resolved("converged", plan.target, certificate),
        frobenius_norm=certificate.norm / unit,
        frobenius_error=certificate.error / unit,
        frobenius_kind=certificate.kind,
        frobenius_resolution=certificate.resolution / unit,
        relative_error=certificate.relative,
        spectral_error=tail_spectral(s, k, output=plan.output, uncentred=uncentred) / unit,
        spectral_kind="exact",
        shape=source.shape,
        dtype=str(source.dtype),
        panel_height=source.shape[0],
        seed=seed,
        spectrum=s / unit,
        spectrum_resolution=values_resolution(s, uncentred=uncentred) / unit,
        mean=None if mean is None else mean / scale,
        scale=None if deviation is None else deviation / scale,
        residuals=pair_residuals(adjoint(A) @ left, s[:k], adjoint(right)) / unit,
    )
    values = in_units(s[:k], unit, source.name)
    return SVDResult(left.astype(plan.output), values, right.astype(plan.output), info)


def _unit_scale(A: np.ndarray) -> float:
    """A power of two that keeps sums of squares in range: 1 for all but extreme entries."""
    peak = float(np.abs(A).max())
    return 1.0 if peak == 0 or 1e-100 < peak < 1e100 else unit_scale(peak, A.dtype)
