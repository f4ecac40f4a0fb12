"""What each method costs, reckoned from the problem alone: the model by which ``method="auto"`` chooses.

Seconds are those of the reference machine of docs/choosing.md, where the constants were measured; another machine
may be faster or slower, but the choice must not depend on it, because bits would. A change of the table changes its
version.
"""

import math
from dataclasses import dataclass

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.widths import LANCZOS_BLOCK, LANES, SPARSE_WIDTH, first_width, lanczos_columns

VERSION = 5  # the number of this table; it stands in `info.why`, and rises with every change, as that may move choices

# Operations per second of one core of the reference machine. Expected times are mostly within a factor of two of those
# measured, and the regret of the choice is mostly 1 (benchmarks/choosing.py, benchmarks/results/choosing.md).
NARROW = {"single": 1.2e11, "double": 6e10}  # products of the matrix with a block of tens of columns
SQUARE = {"single": 1.7e11, "double": 8e10}  # A^H A
LAPACK = 6e10  # singular value decomposition (gesdd)
EIGEN = 2.5e10  # symmetric eigenproblem
TRIANGLE = 1e10  # QR of tall panels
# Seconds that both products with a sparse matrix take a stored entry and column, in blocks of 16 columns: between a
# large matrix, whose vectors lie outside of the second cache (1.1 and 1.5 ns), and a small one (0.5 and 0.8 ns;
# benchmarks/results/sparse_products.md). Single columns take three times as long, 64 columns a tenth less.
SPARSE = {"single": 0.75e-9, "double": 1.1e-9}
# Bytes per second that a read is fed with, and the seconds that it takes whatever its size (the same benchmark).
MEMORY, DISK, START = 1e10, 1e9, 2e-3
CORES = 2  # cores of the reference machine; those of the one that computes must not change the choice, and so bits
USUAL_TOL = 1e-2  # `tol` where none is given; what was reached is published whatever it is (chosen)
# Reads that block Krylov takes before the last one at that tolerance, and by how much each more sharpens the triplets.
# tests/scale/test_svd_promises.py holds 4 reads in all for values that fall like 1 / sqrt i, 3 for 1 / i.
KRYLOV_READS, READ_GAIN = 3, 50.0
# Columns that `lanczos` multiplies in all: so many for each triplet, and so many more, at the usual tolerance and for
# each READ_GAIN beyond; and those of `krylov` over that (the second table of benchmarks/results/sparse_products.md:
# between power-law columns and flat spectra, which take half as many and half as many more).
LANCZOS_RANK, LANCZOS_FIRST, LANCZOS_MORE, WIDER = 4, 120, 60, 1.4
STEP = 1e-3  # seconds that a step of `lanczos` takes whatever its size: 12 steps take 20 ms where products take 2 ms
# Largest problems at which the other candidates are considered: entries for LAPACK, which needs three copies of the
# matrix in double precision (200 MB here), and the short side for A^H A, whose eigenvectors take 7 s at 4000
# (benchmarks/results/choosing.md, where Krylov is faster from 1024 x 1024 on).
FULL_ENTRIES, GRAM_LARGEST = 2**23, 4096
# m n^2 above which A^H A of a matrix in single precision is formed in it, and the last read in double makes up for it.
# Below, forming it in double takes a hundredth of a second at most (by SQUARE and CORES), and keeps all digits.
GRAM_SINGLE = 2e9
OPEN_RANK = 4  # min(m, n) over the rank that is reckoned with where an error or energy chooses it (chosen)


@dataclass(frozen=True)
class Problem:
    """What the cost of a method depends on.

    Attributes
    ----------
    m, n : int
        Sides of the matrix, the longer one first.
    rank : int
        That is asked for, or reckoned with.
    open : bool
        Whether an error or a share of energy chooses the rank.
    tol : float
    single, complex, sparse, on_disk : bool
        Whether entries are exact in float32; complex; the matrix sparse; outside of memory.
    stored, entries : float
        Bytes of the matrix, and stored numbers.
    """

    m: int
    n: int
    rank: int
    open: bool
    tol: float
    single: bool
    complex: bool
    sparse: bool
    on_disk: bool
    stored: float
    entries: float

    @property
    def kind(self) -> str:
        return "single" if self.single else "double"

    @property
    def flops(self) -> float:
        """Real operations of a product of two numbers, over those of real ones."""
        return 4.0 if self.complex else 1.0


def problem(source: MatrixSource, rank: int | None, tol: float) -> Problem:
    """The problem of a source; without a rank, one that an error or a share of energy chooses."""
    m, n = max(source.shape), min(source.shape)
    entries = m * n * source.density if source.sparse else m * n
    return Problem(
        m,
        n,
        rank or max(1, n // OPEN_RANK),
        rank is None,
        tol,
        is_single(source.dtype),
        source.dtype.kind == "c",
        source.sparse,
        not source.in_memory,
        entries * source.itemsize,
        entries,
    )


def full_seconds(problem: Problem) -> float:
    """LAPACK on the whole matrix; infinite where that is large."""
    m, n = problem.m, problem.n
    if m * n > FULL_ENTRIES:
        return math.inf
    return problem.flops * (4.0 * m * n * n + 22.0 * n**3) / LAPACK + 3 * 8 * m * n / MEMORY


def gram_seconds(problem: Problem) -> float:
    """``A^H A``, its eigenvectors and half a read for U; infinite where the short side is long."""
    m, n = problem.m, problem.n
    if n > GRAM_LARGEST:
        return math.inf
    kind = "single" if problem.single and gram_in_single(m, n, problem.open) else "double"
    square = max(_fetch(problem), problem.flops * m * n * n / SQUARE[kind] / CORES)
    eigen = problem.flops * (4 / 3 + 2) * n**3 / EIGEN
    image = max(_fetch(problem), problem.flops * 2.0 * m * n * problem.rank / NARROW[kind] / CORES)
    return square + eigen + image + 2 * START


def gram_in_single(m: int, n: int, open_rank: bool) -> bool:
    """Whether ``A^H A`` of a matrix in single precision is worth forming in it: not for the rank's sake."""
    return not open_rank and m * n**2 > GRAM_SINGLE


def krylov_seconds(problem: Problem) -> float:
    """As many fused reads as are likely, the work on the smaller side, and the last read."""
    width = SPARSE_WIDTH if problem.sparse else first_width(problem.rank)
    blocks = krylov_reads(problem.tol) * (2 if problem.open else 1)
    if problem.sparse:  # narrower ones
        blocks = math.ceil(WIDER * _lanczos_columns(problem) / width)
    basis = blocks * width
    core = (
        problem.flops * 10.0 * problem.n * basis * width * blocks / NARROW["double"]
        + 15.0 * basis**3 / EIGEN / 2
    )
    return blocks * _read(problem, width) + core + _last(problem)


def krylov_reads(tol: float) -> int:
    """Reads that block Krylov is likely to take before its last one."""
    return KRYLOV_READS + _sharpenings(tol)


def lanczos_seconds(problem: Problem) -> float:
    """Narrow blocks and half a read; infinite but for sparse matrices in memory, whose reads are their products."""
    if not problem.sparse or problem.on_disk or problem.open:
        return math.inf
    columns = _lanczos_columns(problem)
    products = SPARSE[problem.kind] * problem.entries * problem.flops * (columns + problem.rank / 2) / CORES
    basis = min(columns, lanczos_columns(problem.rank, problem.n, LANCZOS_BLOCK))
    core = problem.flops * 4.0 * problem.n * columns * basis / NARROW[problem.kind]
    return products + core + STEP * columns / LANCZOS_BLOCK


def _lanczos_columns(problem: Problem) -> float:
    """Columns that narrow blocks multiply, no more than there are."""
    columns = LANCZOS_RANK * problem.rank + LANCZOS_FIRST + LANCZOS_MORE * _sharpenings(problem.tol)
    return min(columns, 2.0 * problem.n)


def _sharpenings(tol: float) -> int:
    """Steps that a tolerance takes beyond the usual one."""
    return max(0, math.ceil(math.log(USUAL_TOL / max(tol, 1e-12)) / math.log(READ_GAIN)))


def _last(problem: Problem) -> float:
    """The read that gives U."""
    columns = problem.rank + LANES
    triangle = 0.0 if problem.single else problem.flops * 2 * problem.m * columns**2 / TRIANGLE / CORES
    return _read(problem, columns) + triangle


def _read(problem: Problem, columns: int) -> float:
    """One fused read for a block of so many columns."""
    if problem.sparse:
        work = SPARSE[problem.kind] * problem.entries * columns * problem.flops
    else:
        work = 4.0 * problem.m * problem.n * columns * problem.flops / NARROW[problem.kind]
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
