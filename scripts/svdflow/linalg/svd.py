"""The door: `truncated_svd`, and `factorize` for results that go to disk."""

import logging
from collections.abc import Callable
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from svdflow.backend import BackendError, device_of, pick
from svdflow.engine import as_engine, one_blas_thread
from svdflow.linalg.certificates import (
    FrobeniusCertificate,
    frobenius_certificate,
    pair_residuals,
    tail_certificate,
)
from svdflow.linalg.finish import last_read
from svdflow.linalg.full import full_svd, load_dense
from svdflow.linalg.gram import gram_subspace
from svdflow.linalg.journal import Journal, identity_of
from svdflow.linalg.krylov import KrylovSearch
from svdflow.linalg.lanczos import lanczos_subspace
from svdflow.linalg.orthonormal import adjoint
from svdflow.linalg.panelwork import Panels, square_norm
from svdflow.linalg.plan import METHODS, Plan, Target, fit_threads, make_plan
from svdflow.linalg.result import SVDInfo, SVDResult
from svdflow.linalg.rsvd import power_subspace
from svdflow.linalg.shift import shift_subspace
from svdflow.linalg.signs import phases
from svdflow.linalg.single_pass import single_pass_svd
from svdflow.linalg.subspace import OneProposal, Reader, Search, Subspace, reader_for, unit_scale
from svdflow.matrix.sources import MatrixSource, as_source
from svdflow.plan.sizes import parse_size

log = logging.getLogger(__name__)

DEFAULT_TOL = 1e-2
MET = 1e-9  # of the error asked for: how far above it rounding may leave the one reached
SEARCH: dict[str, Callable[..., Search]] = {
    "krylov": KrylovSearch,
    "gram": partial(OneProposal, gram_subspace),
    "shift": partial(OneProposal, shift_subspace),
    "lanczos": partial(OneProposal, lanczos_subspace),
    "rsvd": partial(OneProposal, power_subspace),
}


class RowWriter(Protocol):
    """What a sink gives: rows are written in order, each once. `svdflow.store.create_array` makes one."""

    def write(self, start_row: int, rows: np.ndarray) -> Any: ...


Sink = Callable[[tuple[int, int], np.dtype], RowWriter]


def truncated_svd(
    A: Any,
    rank: int | None = None,
    *,
    error: float | None = None,
    energy: float | None = None,
    tol: float | None = None,
    method: str = "auto",
    block_size: int | None = None,
    max_reads: int | None = None,
    center: bool = False,
    seed: int = 0,
    backend: str = "auto",
    engine: Any = None,
    memory_limit: int | str | None = None,
    checkpoint: str | Path | None = None,
) -> SVDResult:
    """Leading singular triplets of a matrix in memory, in a file or in a dask array.

    Parameters
    ----------
    A : ndarray, CuPy array, SciPy sparse matrix, dask array, MatrixSource, h5py.Dataset or path; shape (m, n)
        Real or complex, any float, integer or bool dtype. The whole is never converted, panels are.
    rank : int, optional
        Number of triplets k, at most min(m, n). Exactly one of `rank`, `error` and `energy` is given.
    error : float, optional
        Relative Frobenius error in [0, 1) that chooses the rank.
    energy : float, optional
        Share in (0, 1] of the squared Frobenius norm that chooses the rank.
    tol : float, optional
        Accuracy of the triplets, ``max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2``; 0.01 by default. It steers where the
        iteration stops; the exact residuals are in the result.
    method : {"auto", "full", "gram", "krylov", "shift", "lanczos", "rsvd", "single_pass"}
        ``full`` is LAPACK; ``gram`` forms ``A^H A`` in one read; ``krylov`` is block Krylov with one fused read a step;
        ``shift`` is shifted subspace iteration, for little memory; ``lanczos`` is thick-restart block Lanczos, for
        tight tolerances; ``rsvd`` is randomized subspace iteration, for comparison; ``single_pass`` reads once, with an
        error estimate. ``auto`` takes one of the first three by cost (docs/choosing.md).
    block_size : int, optional
        Columns of a block, ``k + max(10, k / 2)`` by default.
    max_reads : int, optional
        At most so many passes over A, the last one for U included; 16 by default, and at least 2.
    center : bool
        Subtract the column means (without another read, and without making a sparse matrix dense).
    seed : int
        Of the test matrix; at least 0. The result does not depend on workers or scheduler.
    backend : {"auto", "numpy", "cupy"}
    engine : int, Engine or dask.distributed client, optional
        Where panels are computed; a number of threads. By default all cores of the process.
    memory_limit : int or str, optional
        Bytes, or text such as "1GiB". It limits tasks in flight; a factorization that cannot fit is refused.
    checkpoint : path, optional
        Folder where the sums of every finished read are kept until the end. The same call with the same folder goes on
        after a kill, to the same bits.

    Returns
    -------
    SVDResult
        Unpacks as ``U`` (m, k), ``s`` (k,), ``Vt`` (k, n). In each right singular vector the entry of largest magnitude
        is real and positive. Fields of ``.info``: method, reads, reason, Frobenius error and its kind, residuals, ...

    Raises
    ------
    ValueError
        Arguments that contradict each other, or k above min(m, n).
    NonFiniteError
        A holds NaN or infinity; the message names the rows.
    MemoryLimitError
        `memory_limit` is too small; the message says what would do.
    BackendError
        ``backend="cupy"`` without a usable device.

    Notes
    -----
    A wide matrix is worked on as its conjugate transpose where columns can be read at their own cost (arrays, sparse
    matrices, files that are not compressed across columns); otherwise the basis lives on the longer side.
    Sources: Musco and Musco 2015; Tropp and Webber 2023 (arXiv 2306.12418); Halko, Martinsson and Tropp 2011.

    Examples
    --------
    >>> import numpy as np
    >>> U, s, Vt = truncated_svd(np.diag([3.0, 2.0, 1.0]), rank=2)
    >>> s.round(6).tolist()
    [3.0, 2.0]
    """
    return factorize(
        A,
        rank,
        error=error,
        energy=energy,
        tol=tol,
        method=method,
        block_size=block_size,
        max_reads=max_reads,
        center=center,
        seed=seed,
        backend=backend,
        engine=engine,
        memory_limit=memory_limit,
        checkpoint=checkpoint,
    )


def factorize(
    A: Any,
    rank: int | None = None,
    *,
    error: float | None = None,
    energy: float | None = None,
    tol: float | None = None,
    method: str = "auto",
    block_size: int | None = None,
    max_reads: int | None = None,
    center: bool = False,
    seed: int = 0,
    backend: str = "auto",
    engine: Any = None,
    memory_limit: int | str | None = None,
    checkpoint: str | Path | None = None,
    sink: Sink | None = None,
    scratch: str | Path | None = None,
) -> SVDResult:
    """`truncated_svd` whose left factor may go to a sink, panel by panel, and never be in memory.

    Parameters
    ----------
    sink : callable, optional
        ``sink((m, k), dtype)`` is called once, when k is known, and returns an object with
        ``write(start_row, rows)``, for instance ``partial(svdflow.store.create_array, group, "U")``. Rows come in
        order, each once. The result's `U` is then None. The caller closes the writer.
    scratch : path, optional
        Folder for a temporary file of m (k + 8) numbers, used with a sink; the system's by default.

    Notes
    -----
    All other parameters, results and errors are those of `truncated_svd`. A wide matrix that is worked on as its
    transpose has its long factor, Vt, in memory.
    """
    source = as_source(A)
    target = _check_target(source, rank, error, energy)
    _check_options(source, method, tol, block_size, max_reads, seed)
    backend = _backend_for(source, method, backend)
    plan = make_plan(
        source,
        target,
        method=method,
        tol=DEFAULT_TOL if tol is None else tol,
        block_size=block_size,
        max_reads=max_reads,
        center=center,
        backend=backend,
        seed=seed,
    )
    streamed = sink is not None and not plan.transposed
    runner = as_engine(engine)
    threads = fit_threads(plan, runner.threads, parse_size(memory_limit), keep_factor=not streamed)
    # A device has one compute stream: panels take turns there, and the host's threads only feed it.
    staging, threads = threads, 1 if backend == "cupy" else threads
    runner = runner if threads == runner.threads else runner.with_threads(threads)
    log.info(
        "%s: %s by method %s, %d panels, %d tasks at a time",
        source.name,
        target,
        plan.method,
        len(plan.bounds),
        threads,
    )
    limit = parse_size(memory_limit) if backend == "cupy" else None
    with one_blas_thread(), device_of(backend, threads=staging, memory_limit=limit) as device:
        if plan.method == "full":
            return _delivered(_by_lapack(source, plan, center, seed), sink)
        if plan.method == "single_pass":
            return single_pass_svd(
                source, plan.target.choose, plan.widths[0], center=center, seed=seed, engine=runner, sink=sink
            )
        journal = Journal(checkpoint, identity_of(source, plan, seed)) if checkpoint else None
        reader = reader_for(plan, Panels.of(plan, device), runner, journal)
        search = SEARCH[plan.method](plan, reader, seed)
        result = _finish(source, plan, search, reader, seed, sink, scratch, streamed)
        if journal:
            journal.close()
        return result


def _finish(
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
    read = partial(
        last_read,
        plan,
        reader=reader,
        seed=seed,
        on_disk=streamed,
        folder=folder,
        phase=None if plan.transposed else phases,
    )
    found = search.propose()
    factors = read(found)
    while not search.accepts(found, factors):
        factors.close()
        found = search.propose()
        factors = read(found)
    k, m = len(factors.s), plan.tall.shape[0]
    try:
        if streamed:
            assert sink is not None
            writer = sink((m, k), plan.output)
            factors.write_U(lambda start, rows: writer.write(start, rows.astype(plan.output, copy=False)))
            long = None
        else:
            long = np.empty((m, k), plan.output)
            factors.write_U(lambda start, rows: long.__setitem__(slice(start, start + len(rows)), rows))
    finally:
        factors.close()
    info = _info(source, plan, found, factors, seed)
    s = factors.s / found.panels.scale
    if not plan.transposed:
        return SVDResult(long, s, adjoint(factors.V).astype(plan.output), info)
    assert long is not None
    unit = phases(long)
    Vt = adjoint(long)
    Vt *= unit[:, None]
    return _delivered(SVDResult((factors.V / unit).astype(plan.output), s, Vt, info), sink)


def _info(source: MatrixSource, plan: Plan, found: Subspace, factors: Any, seed: int) -> SVDInfo:
    scale = found.panels.scale
    if found.method == "tsqr":
        assert found.spectrum is not None
        certificate = tail_certificate(
            found.spectrum, len(factors.s), output=plan.output, uncentred=found.uncentred
        )
    else:
        certificate = frobenius_certificate(
            found.norm_squared,
            factors.s,
            output=plan.output,
            uncentred=found.uncentred,
            eps=float(np.finfo(factors.dtype).eps),
        )
    reason = found.reason
    if factors.numerical_rank < len(factors.s):
        reason = "rank_deficient"
    elif plan.target.choose(factors.s, found.norm_squared) is None and len(factors.s) < min(source.shape):
        reason = "max_reads"
    else:
        reason = _resolved(reason, plan.target, certificate)
    return SVDInfo(
        method=found.method,
        why=plan.why,
        rank=len(factors.s),
        numerical_rank=factors.numerical_rank,
        reads=found.reads + 1,
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
        block_size=_block_size(plan),
        panel_height=plan.panel_height,
        seed=seed,
        sampled_rows=found.sampled_rows,
        polished=factors.polished,
        estimate=found.estimate,
        residuals=factors.residuals / scale,
        spectrum=None if found.spectrum is None else found.spectrum / scale,
        mean=_mean(plan, found),
    )


def _by_lapack(source: MatrixSource, plan: Plan, center: bool, seed: int) -> SVDResult:
    A = load_dense(source)
    scale = _unit_scale(A)
    A *= scale
    mean, uncentred = None, 0.0
    if center:
        uncentred = square_norm(A)
        mean = A.mean(axis=0)
        A -= mean
    U, s, Vt = full_svd(A)
    k = plan.target.choose(s) or len(s)
    certificate = tail_certificate(s, k, output=plan.output, uncentred=uncentred)
    unit = phases(adjoint(Vt[:k]))
    left, right = U[:, :k] / unit, Vt[:k] * unit[:, None]
    rank = int(np.count_nonzero(s[:k] > max(source.shape) * np.finfo(float).eps * s[0]))
    info = SVDInfo(
        method="full",
        why=plan.why,
        rank=k,
        numerical_rank=rank,
        reads=1,
        reason="rank_deficient" if rank < k else _resolved("converged", plan.target, certificate),
        frobenius_norm=certificate.norm / scale,
        frobenius_error=certificate.error / scale,
        frobenius_kind=certificate.kind,
        frobenius_resolution=certificate.resolution / scale,
        relative_error=certificate.relative,
        shape=source.shape,
        dtype=str(source.dtype),
        panel_height=source.shape[0],
        seed=seed,
        spectrum=s / scale,
        mean=None if mean is None else mean / scale,
        residuals=pair_residuals(adjoint(A) @ left, s[:k], adjoint(right)) / scale,
    )
    return SVDResult(left.astype(plan.output), s[:k] / scale, right.astype(plan.output), info)


def _unit_scale(A: np.ndarray) -> float:
    """A power of two that keeps sums of squares in range: 1 for all but extreme entries."""
    peak = float(np.abs(A).max())
    return 1.0 if peak == 0 or 1e-100 < peak < 1e100 else unit_scale(peak, A.dtype)


def _resolved(reason: str, target: Target, certificate: FrobeniusCertificate) -> str:
    """The reason, unless an error was asked for that the certificate cannot show to be met."""
    missed = target.error is not None and certificate.relative > target.error * (1 + MET)
    return "unresolved" if missed else reason


def _delivered(result: SVDResult, sink: Sink | None) -> SVDResult:
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


def _block_size(plan: Plan) -> int:
    return plan.tall.shape[1] if plan.method == "gram" else plan.widths[0]


def _backend_for(source: MatrixSource, method: str, backend: str) -> str:
    what = (
        "sparse panels are" if source.sparse else "method 'single_pass' is" if method == "single_pass" else ""
    )
    if not what:
        return pick(backend)
    if backend == "cupy":
        raise BackendError(f"{source.name}: {what} computed on NumPy only; choose backend 'auto' or 'numpy'")
    return "numpy"


def _check_target(source: MatrixSource, rank: Any, error: Any, energy: Any) -> Target:
    given = [
        name for name, value in (("rank", rank), ("error", error), ("energy", energy)) if value is not None
    ]
    if len(given) != 1:
        raise ValueError(f"give exactly one of rank, error and energy; given: {', '.join(given) or 'none'}")
    if rank is not None:
        if not _is_integer(rank):
            raise ValueError(f"rank must be an integer, not {rank!r}; for a share of energy use energy=")
        if not 1 <= rank <= min(source.shape):
            m, n = source.shape
            raise ValueError(
                f"{source.name}: rank {rank} is outside 1 to {min(m, n)} = min(m, n) of a {m} x {n} matrix"
            )
        return Target(rank=int(rank))
    if error is not None and not (0 <= error < 1):
        raise ValueError(f"error must be in [0, 1), relative to the Frobenius norm, not {error!r}")
    if energy is not None and not (0 < energy <= 1):
        raise ValueError(f"energy must be in (0, 1], a share of the squared Frobenius norm, not {energy!r}")
    return Target(
        error=None if error is None else float(error), energy=None if energy is None else float(energy)
    )


def _check_options(
    source: MatrixSource, method: str, tol: Any, block_size: Any, max_reads: Any, seed: Any
) -> None:
    if method not in METHODS:
        raise ValueError(f"method {method!r} is not one of {', '.join(METHODS)}")
    if tol is not None and not 0 <= tol < float("inf"):
        raise ValueError(f"tol must be 0 or positive, not {tol!r}")
    if block_size is not None and (not _is_integer(block_size) or block_size < 1):
        raise ValueError(f"block_size must be a positive integer, not {block_size!r}")
    least = 1 if method == "single_pass" else 2
    if max_reads is not None and (not _is_integer(max_reads) or max_reads < least):
        raise ValueError(
            f"max_reads must be an integer of at least 2 (one for V, one for U), not {max_reads!r}"
        )
    if not _is_integer(seed) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {seed!r}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
