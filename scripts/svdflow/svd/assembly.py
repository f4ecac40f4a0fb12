"""From an accepted subspace to the result: factors in the orientation and scale of the matrix, and their story."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.certificates import (
    FrobeniusCertificate,
    contradicted,
    estimated_certificate,
    frobenius_certificate,
    tail_certificate,
    values_resolution,
)
from svdflow.svd.info import SVDInfo, in_units
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan, Target
from svdflow.svd.read.kept_rows import kept_factors
from svdflow.svd.read.last_read import Factors, last_read
from svdflow.svd.read.square_factors import square_factors
from svdflow.svd.result import SVDResult
from svdflow.svd.signs import phases
from svdflow.svd.stopping import judged
from svdflow.svd.subspace import Reader, Search, Subspace


class RowWriter(Protocol):
    """What a sink gives: rows are written in order, each once. `svdflow.store.create_array` makes one."""

    def write(self, start_row: int, rows: np.ndarray) -> Any: ...


Sink = Callable[[tuple[int, int], np.dtype], RowWriter]
# Share by which the error of the stored factors may lie above the one asked for and still meet it: the rank was chosen
# by the same sums in another order.
MET = 1e-9
# Times the floor of the certificate above which rounding is no part of what probes find left (chosen: their figures are
# differences, too, and a fiftieth of them counts).
CLEAR = 100


def finished(
    source: MatrixSource,
    plan: Plan,
    search: Search,
    reader: Reader,
    seed: int,
    sink: Sink | None,
    folder: Any,
    streamed: bool,
) -> SVDResult:
    """The last read, and everything in the orientation and scale of the caller's matrix."""
    phase = None if plan.transposed else phases

    def read(found: Subspace) -> Factors:
        if found.kept is not None:
            factors = kept_factors(plan, found, reader=reader, phase=phase)
            if factors is not None:
                return factors
        if found.gram is not None:
            return square_factors(
                plan, found, reader=reader, seed=seed, on_disk=streamed, folder=folder, phase=phase
            )
        return last_read(plan, found, reader=reader, seed=seed, on_disk=streamed, folder=folder, phase=phase)

    found = search.propose()
    factors = read(found)
    while not search.accepts(found, factors):
        factors.close()
        found = search.propose()
        factors = read(found)
    k, m = len(factors.s), plan.tall.shape[0]
    try:
        s = in_units(factors.s, found.panels.unit, source.name)
        if streamed:
            assert sink is not None
            writer = sink((m, k), plan.output)
            factors.write_U(lambda start, rows: writer.write(start, rows.astype(plan.output, copy=False)))
            long = None
        elif factors.U is not None:
            long = factors.U
        else:
            long = np.empty((m, k), plan.output)
            factors.write_U(lambda start, rows: long.__setitem__(slice(start, start + len(rows)), rows))
    finally:
        factors.close()
    info = _info(source, plan, found, factors, seed)
    if not plan.transposed:
        return SVDResult(long, s, adjoint(factors.V).astype(plan.output), info)
    assert long is not None
    unit = phases(long)
    Vt = adjoint(long)
    Vt *= unit[:, None]
    return delivered(SVDResult((factors.V / unit).astype(plan.output), s, Vt, info), sink)


def _info(source: MatrixSource, plan: Plan, found: Subspace, factors: Any, seed: int) -> SVDInfo:
    scale = found.panels.unit
    if found.sharp:
        assert found.spectrum is not None
        certificate = tail_certificate(
            found.spectrum, factors.numerical_rank, output=plan.output, uncentred=_before_means(plan, found)
        )
    else:
        output, uncentred, eps = plan.output, found.uncentred, float(np.finfo(factors.dtype).eps)
        if found.norm_estimated:
            certificate = estimated_certificate(
                factors.s, factors.spectral.energies, output=output, uncentred=uncentred, eps=eps
            )
        else:
            certificate = frobenius_certificate(
                found.norm_squared, factors.s, output=output, uncentred=uncentred, eps=eps
            )
            if plan.tall.matrix_free:
                _refuse_wrong_norm(source, found, factors, certificate.resolution)
    reason, estimate = judged(
        found.reason, found.estimate, found, factors, tol=plan.tol, work=plan.work, output=plan.output
    )
    if reason == "rank_deficient":
        pass
    elif plan.target.choose(factors.s, found.norm_squared) is None and len(factors.s) < min(source.shape):
        reason = "max_reads"
    else:
        reason = resolved(reason, plan.target, certificate)
    return SVDInfo(
        method=found.method,
        why=plan.why,
        rank=len(factors.s),
        numerical_rank=factors.numerical_rank,
        reads=found.reads + factors.reads,
        reason=reason,
        frobenius_norm=certificate.norm / scale,
        frobenius_error=certificate.error / scale,
        frobenius_kind=certificate.kind,
        frobenius_resolution=certificate.resolution / scale,
        relative_error=certificate.relative,
        spectral_error=factors.spectral.error / scale,
        spectral_kind=factors.spectral.kind,
        spectral_failure=factors.spectral.failure,
        shape=source.shape,
        dtype=str(source.dtype),
        backend=found.panels.device.name,
        notes=tuple(found.panels.device.notes),
        block_size=plan.widths[0],
        panel_height=plan.panel_height,
        seed=seed,
        sampled_rows=found.sampled_rows,
        polished=factors.polished,
        estimate=estimate,
        residuals=factors.residuals / scale,
        spectrum=None if found.spectrum is None else found.spectrum / scale,
        spectrum_resolution=_spectrum_resolution(plan, found) / scale,
        mean=_mean(plan, found),
        scale=_deviation(found),
    )


def _spectrum_resolution(plan: Plan, found: Subspace) -> float:
    if found.spectrum is None:
        return 0.0
    if found.sharp:
        return values_resolution(found.spectrum, uncentred=_before_means(plan, found))
    eps = float(np.finfo(plan.work).eps)
    return values_resolution(found.spectrum, uncentred=found.uncentred, squared=True, eps=eps)


def _before_means(plan: Plan, found: Subspace) -> float:
    """Squared Frobenius norm of what means were taken off, of rows too, where no sum of squares cancels."""
    if found.row_means is None:
        return found.uncentred
    means = found.row_means if found.row_deviations is None else found.row_means / found.row_deviations
    return found.uncentred + plan.tall.shape[1] * float(np.vdot(means, means).real)


def _refuse_wrong_norm(source: MatrixSource, found: Subspace, factors: Any, resolution: float) -> None:
    """Raise ValueError where the norm of an operator, as it was given, contradicts its products."""
    left = found.norm_squared - float(np.sum(factors.s**2))
    floor, energies = resolution**2, factors.spectral.energies
    if left < -floor or (left > CLEAR * floor and contradicted(left, energies)):
        given, due, seen = (
            value / found.panels.unit / found.panels.unit
            for value in (found.norm_squared, left, float(np.mean(energies)))
        )
        raise ValueError(
            f"{source.name}: norm_squared = {given:.6g} contradicts its products: the factors leave {due:.3g} of it, "
            f"random probes find {seen:.3g}; give ||A||_F^2, or leave it out"
        )


def resolved(reason: str, target: Target, certificate: FrobeniusCertificate) -> str:
    """The reason, unless an error was asked for that the certificate cannot show to be met.

    An estimate shows that only beyond its standard error.
    """
    doubt = (
        certificate.resolution / certificate.norm
        if certificate.kind == "estimated" and certificate.norm
        else 0.0
    )
    missed = target.error is not None and certificate.relative - doubt > target.error * (1 + MET)
    return "unresolved" if missed else reason


def delivered(result: SVDResult, sink: Sink | None) -> SVDResult:
    """Hand a left factor that is in memory to the sink."""
    if sink is None:
        return result
    sink(result.U.shape, result.U.dtype).write(0, result.U)
    return SVDResult(None, result.s, result.Vt, result.info)


def _mean(plan: Plan, found: Subspace) -> np.ndarray | None:
    if plan.center == "rows":
        assert found.row_means is not None
        return found.row_means.conj() / found.panels.scale
    if found.mean is None:
        return None
    shift = 0.0 if found.panels.shift is None else found.panels.shift
    return (found.mean + shift) / found.panels.scale


def _deviation(found: Subspace) -> np.ndarray | None:
    deviation = found.row_deviations if found.deviation is None else found.deviation
    return None if deviation is None else deviation / found.panels.scale
