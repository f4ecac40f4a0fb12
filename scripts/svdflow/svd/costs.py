"""What each method costs, reckoned from the problem alone: the model by which ``method="auto"`` chooses.

Seconds are those of the reference machine of docs/choosing.md, where the constants were measured; another machine
may be faster or slower, but the choice must not depend on it, because bits would. A change of the table changes its
version.
"""

import math
from dataclasses import dataclass

import numpy as np

from svdflow.matrix.sources import MatrixSource

VERSION = 3

# Rates of one core, per second: products with a narrow block, A^H A, LAPACK's SVD and symmetric eigenproblem, QR,
# entries of a sparse matrix times a column.
NARROW = {"single": 1.2e11, "double": 6e10}
SQUARE = {"single": 1.7e11, "double": 8e10}
LAPACK = 6e10
EIGEN = 2.5e10
TRIANGLE = 1e10
SPARSE = 1.5e9
MEMORY = 1e10  # bytes
DISK = 1e9
START = 2e-3  # seconds of a read, whatever its size
CORES = 2
USUAL_TOL, KRYLOV_READS = 1e-2, 3  # before the last one at that tolerance
READ_GAIN = 50.0  # in accuracy, of a read more


@dataclass(frozen=True)
class Problem:
    """What the cost of a method depends on; m is at least n."""

    m: int
    n: int
    width: int  # of a block
    last: int  # columns of the last read
    blocks: int  # Krylov blocks that are likely
    single: bool
    single_gram: bool  # A^H A is formed in single precision
    complex: bool
    stored: float  # bytes of the matrix
    entries: float  # stored numbers
    sparse: bool
    on_disk: bool

    @property
    def kind(self) -> str:
        return "single" if self.single else "double"


def problem(
    source: MatrixSource, *, width: int, last: int, blocks: int, single: bool, single_gram: bool
) -> Problem:
    """The problem of a source."""
    m, n = max(source.shape), min(source.shape)
    entries = m * n * source.density if source.sparse else m * n
    kind, stored = source.dtype.kind == "c", entries * source.itemsize
    return Problem(
        m,
        n,
        width,
        last,
        blocks,
        single,
        single_gram,
        kind,
        stored,
        entries,
        source.sparse,
        not source.in_memory,
    )


def krylov_reads(tol: float) -> int:
    """Reads that block Krylov is likely to take before its last one."""
    digits = math.log(USUAL_TOL / max(tol, 1e-12)) / math.log(READ_GAIN)
    return KRYLOV_READS + max(0, math.ceil(digits))


def seconds(problem: Problem) -> dict[str, float]:
    """Expected time of every method that `auto` considers, on the reference machine."""
    m, n = problem.m, problem.n
    flops = 4.0 if problem.complex else 1.0  # of a complex product, in real ones
    full = flops * (4.0 * m * n * n + 22.0 * n**3) / LAPACK + 3 * 8 * m * n / MEMORY
    last = _read(problem, problem.last)
    last += 0 if problem.single else flops * 2 * m * problem.last**2 / TRIANGLE / CORES
    eigen = flops * (4 / 3 + 2) * n**3 / EIGEN
    gram = (
        max(
            _fetch(problem), flops * m * n * n / SQUARE["single" if problem.single_gram else "double"] / CORES
        )
        + START
        + eigen
        + last
    )
    basis = problem.blocks * problem.width
    core = (
        flops * 10.0 * n * basis * problem.width * problem.blocks / NARROW["double"]
        + 15.0 * basis**3 / EIGEN / 2
    )
    krylov = problem.blocks * _read(problem, problem.width) + core + last
    return {"full": full, "gram": gram, "krylov": krylov}


def _read(problem: Problem, columns: int) -> float:
    """One fused read for a block of so many columns."""
    flops = 4.0 if problem.complex else 1.0
    if problem.sparse:
        work = 4.0 * problem.entries * columns * flops / SPARSE
    else:
        work = 4.0 * problem.m * problem.n * columns * flops / NARROW[problem.kind]
    return START + max(_fetch(problem), work / CORES)


def _fetch(problem: Problem) -> float:
    return problem.stored / (DISK if problem.on_disk else MEMORY)


def described(times: dict[str, float]) -> str:
    """``"krylov 0.31 s, gram 1.2 s, full 40 s on the reference machine (constants 2)"``."""
    ordered = sorted(times.items(), key=lambda item: item[1])
    listed = ", ".join(f"{name} {time:.2g} s" for name, time in ordered)
    return f"{listed} on the reference machine (constants {VERSION})"


def is_single(dtype: np.dtype) -> bool:
    """Whether float32 holds every entry exactly."""
    return dtype in (np.float32, np.float16, np.complex64) or (dtype.kind in "iub" and dtype.itemsize <= 2)
