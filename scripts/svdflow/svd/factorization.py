"""The door: `truncated_svd`, and `factorize` for results that go to disk."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from svdflow.checks import check_flags
from svdflow.compute import device_of
from svdflow.compute.cluster_engine import as_engine
from svdflow.compute.engine import one_blas_thread
from svdflow.compute.seeds import seed_from
from svdflow.matrix.checked import unchanged
from svdflow.matrix.opening import as_source
from svdflow.matrix.operators import OperatorSource
from svdflow.study.sizes import parse_size
from svdflow.svd.algorithm import Factorization
from svdflow.svd.arguments import backend_for, check_options, checked_target
from svdflow.svd.assembly import Sink
from svdflow.svd.costs import USUAL_TOL
from svdflow.svd.matrix_free import with_products, without_entries
from svdflow.svd.plan import FULL, fit_threads, in_precision, make_plan
from svdflow.svd.result import SVDResult
from svdflow.svd.solver_options import RareOptions, SolverOptions, solver_options
from svdflow.svd.stopping import warn_if_short

log = logging.getLogger(__name__)


def truncated_svd(
    A: Any,
    rank: int | None = None,
    *,
    error: float | None = None,
    energy: float | None = None,
    tol: float | None = None,
    method: str = "auto",
    center: bool = False,
    scale: bool = False,
    seed: int = 0,
    rng: Any = None,
    backend: str = "auto",
    engine: Any = None,
    memory_limit: int | str | None = None,
    options: SolverOptions | None = None,
    **rare: Unpack[RareOptions],
) -> SVDResult:
    """Leading singular triplets of a matrix in memory, in a file or in a dask array.

    Parameters
    ----------
    A : ndarray, CuPy array, SciPy sparse matrix or LinearOperator, dask array, MatrixSource, h5py.Dataset or path
        Shape (m, n). Real or complex, any float, integer or bool dtype. The whole is never converted, panels are.
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
        error estimate. ``auto`` takes one of the first three, or ``lanczos`` for a sparse matrix, by cost
        (docs/choosing.md).
    center : bool
        Subtract the column means (without another read, and without making a sparse matrix dense).
    scale : bool
        Divide columns by their standard deviation (of the population, about the mean, also where that is not
        subtracted; columns that are constant, to ``m eps`` of their mean, by 1). The result and its figures are of the
        matrix so divided, ``info.scale`` (n,) are the divisors. It takes no read more, but for ``shift``, ``lanczos``
        and ``rsvd`` on a matrix that is not worked on as its transpose: there one, for the deviations; and ``krylov``
        may take one there, where the first panel's deviations are far off those of the whole. ``single_pass`` refuses.
    seed : int
        Of the test matrix; at least 0. The result does not depend on workers or scheduler.
    rng : int or numpy.random.Generator, optional
        In the place of `seed`; a generator is advanced by one draw.
    backend : {"auto", "numpy", "cupy"}
    engine : int, Engine or dask.distributed client, optional
        Where panels are computed; a number of threads. By default all cores of the process.
    memory_limit : int or str, optional
        Bytes, or text such as "1GiB". It limits tasks in flight; a factorization that cannot fit is refused.
    options : SolverOptions, optional
        ``block_size``, ``max_reads``, ``checkpoint`` (a folder in which a factorization that was killed goes on) and
        ``precision`` (``"mixed"`` searches by a device's fast products; see `SolverOptions`).
    **rare
        The same, a keyword each.

    Returns
    -------
    SVDResult
        Unpacks as ``U`` (m, k), ``s`` (k,), ``Vt`` (k, n). In each right singular vector the entry of largest magnitude
        is real and positive. Fields of ``.info``: method, reads, reason, Frobenius error and its kind, residuals, ...

    Raises
    ------
    ValueError
        Arguments that contradict each other, or k above min(m, n); or entries are needed of an operator, or its norm as
        given contradicts its products.
    NonFiniteError
        A holds NaN or infinity; the message names the rows.
    MaskedError, LossyIntegerError, SourceError
        (ValueErrors) Values are missing; integers are above 2^53 and float64 does not hold them; panels or products are
        not as promised, differ between reads, or their file was written to meanwhile.
    MemoryLimitError
        `memory_limit` is too small; the message says what would do.
    BackendError
        ``backend="cupy"`` without a usable device.

    Warns
    -----
    ConvergenceWarning
        The factors are less accurate than `tol`, `error` or `energy` ask for, or nothing shows that they are not:
        ``info.reason`` is ``max_reads`` or ``unresolved``.

    Notes
    -----
    A wide matrix is worked on as its conjugate transpose where columns can be read at their own cost (arrays, sparse
    matrices, files that are not compressed across columns); otherwise the basis lives on the longer side.
    An operator (`svdflow.OperatorSource`, SciPy's LinearOperator) is never formed, unless it is small; its Frobenius
    norm is an estimate where it is not given.
    Sources: Musco and Musco 2015; Tropp and Webber 2023 (arXiv 2306.12418); Halko, Martinsson and Tropp 2011.

    Examples
    --------
    >>> import numpy as np
    >>> U, s, Vt = truncated_svd(np.diag([3.0, 2.0, 1.0]), rank=2)
    >>> s.round(6).tolist()
    [3.0, 2.0]
    """
    chosen = solver_options(options, rare)
    result = factorize(
        A,
        rank,
        error=error,
        energy=energy,
        tol=tol,
        method=method,
        block_size=chosen.block_size,
        max_reads=chosen.max_reads,
        center=center,
        scale=scale,
        seed=seed_from(seed, rng),
        backend=backend,
        engine=engine,
        memory_limit=memory_limit,
        checkpoint=chosen.checkpoint,
        precision=FULL if chosen.precision is None else chosen.precision,
    )
    warn_if_short(result.info, USUAL_TOL if tol is None else tol, error=error, energy=energy)
    return result


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
    scale: bool = False,
    seed: int = 0,
    backend: str = "auto",
    engine: Any = None,
    memory_limit: int | str | None = None,
    checkpoint: str | Path | None = None,
    precision: str = FULL,
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
    check_flags(center=center, scale=scale)
    source = as_source(A)
    target = checked_target(source, rank, error, energy)
    check_options(source, method, tol, block_size, max_reads, seed, scale=scale, precision=precision)
    backend = backend_for(source, method, backend)
    operator, columns = (
        (source, source.columns_multiplied) if isinstance(source, OperatorSource) else (None, 0)
    )
    if operator is not None:
        with one_blas_thread():
            source = without_entries(
                operator, target, method, center=center, scale=scale, checkpoint=checkpoint
            )
        center = center and not source.matrix_free
    plan = make_plan(
        source,
        target,
        method=method,
        tol=USUAL_TOL if tol is None else tol,
        block_size=block_size,
        max_reads=max_reads,
        center=center,
        backend=backend,
        seed=seed,
    )
    algorithm = plan.algorithm
    if scale:
        plan = algorithm.standardized(plan, max_reads)
    runner = as_engine(engine)
    limit = parse_size(memory_limit)
    threads = fit_threads(
        plan, runner.threads, limit, keep_factor=sink is None or plan.transposed, beside=runner.own_bytes
    )
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
    device_there = device_of(backend, threads=staging, memory_limit=limit if backend == "cupy" else None)
    with unchanged(source), one_blas_thread(), device_there as device:
        plan = in_precision(plan, precision, device, max_reads)
        task = Factorization(
            source, plan, device, runner, seed, scale, checkpoint, sink, scratch, limit is not None
        )
        try:
            result: SVDResult = algorithm.factorize(task)
        finally:
            runner.release()
    if device.notes and not result.info.notes:  # of a method that reads without a device
        result = replace(result, info=replace(result.info, notes=tuple(device.notes)))
    if operator is not None:
        return with_products(result, source, operator.columns_multiplied - columns)
    return result
