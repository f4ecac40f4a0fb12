"""What the door asks of its arguments, before anything is read."""

from math import inf
from typing import Any

from svdflow.checks import is_integer, is_number
from svdflow.compute import BackendError, pick
from svdflow.matrix.sources import MatrixSource
from svdflow.registry import AUTO, SVD_METHODS
from svdflow.svd.plan import FULL, PRECISIONS, Target, algorithm_of

# Reads that may be asked for: a tuple of as many widths is planned beforehand, and searches end in hundreds at most.
MOST_READS = 10_000


def backend_for(source: MatrixSource, method: str, backend: str) -> str:
    what = ""
    if source.sparse or source.matrix_free:
        what = "sparse panels are" if source.sparse else "products of an operator are"
    elif method != AUTO and "cupy" not in SVD_METHODS[method].backends:
        what = f"method {method!r} is"
    if not what:
        return pick(backend)
    if backend == "cupy":
        raise BackendError(f"{source.name}: {what} computed on NumPy only; choose backend 'auto' or 'numpy'")
    return "numpy"


def checked_target(source: MatrixSource, rank: Any, error: Any, energy: Any) -> Target:
    given = [
        name for name, value in (("rank", rank), ("error", error), ("energy", energy)) if value is not None
    ]
    if len(given) != 1:
        raise ValueError(f"give exactly one of rank, error and energy; given: {', '.join(given) or 'none'}")
    if rank is not None:
        if not is_integer(rank):
            raise ValueError(f"rank must be an integer, not {rank!r}; for a share of energy use energy=")
        if not 1 <= rank <= min(source.shape):
            m, n = source.shape
            raise ValueError(
                f"{source.name}: rank {rank} is outside 1 to {min(m, n)} = min(m, n) of a {m} x {n} matrix"
            )
        return Target(rank=int(rank))
    if error is not None and not (is_number(error) and 0 <= error < 1):
        raise ValueError(f"error must be in [0, 1), relative to the Frobenius norm, not {error!r}")
    if energy is not None and not (is_number(energy) and 0 < energy <= 1):
        raise ValueError(f"energy must be in (0, 1], a share of the squared Frobenius norm, not {energy!r}")
    return Target(
        error=None if error is None else float(error), energy=None if energy is None else float(energy)
    )


def check_options(
    source: MatrixSource,
    method: Any,
    tol: Any,
    block_size: Any,
    max_reads: Any,
    seed: Any,
    *,
    scale: bool = False,
    precision: Any = FULL,
) -> None:
    if not isinstance(method, str) or method not in (AUTO, *SVD_METHODS):
        raise ValueError(f"method {method!r} is not one of {', '.join((AUTO, *SVD_METHODS))}")
    least = 2
    if method != AUTO:
        algorithm = algorithm_of(method)
        algorithm.check(source, scale=scale)
        least = algorithm.least_reads
    if tol is not None and not (is_number(tol) and 0 <= tol < inf):
        raise ValueError(f"tol must be 0 or positive, and finite, not {tol!r}")
    if block_size is not None and (not is_integer(block_size) or block_size < 1):
        raise ValueError(f"block_size must be a positive integer, not {block_size!r}")
    if max_reads is not None and (not is_integer(max_reads) or not least <= max_reads <= MOST_READS):
        raise ValueError(
            f"max_reads must be an integer of at least {least}{' (one for V, one for U)' if least == 2 else ''}, "
            f"and at most {MOST_READS:,}, not {max_reads!r}"
        )
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if not is_integer(seed) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {seed!r}")
