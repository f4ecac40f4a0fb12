"""How a factorization is done: a pure function of shape, dtype, sparsity, layout, rank, accuracy and the table below.

Free memory and measured speed have no say in it, so they cannot change bits. A plan that does not fit the memory
limit runs fewer tasks at a time, or is refused with the limit it needs.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from svdflow.errors import MemoryLimitError
from svdflow.matrix.panels import PANEL_BYTES, panel_bounds
from svdflow.matrix.sources import MatrixSource, TransposedSource
from svdflow.ranks import rank_for_energy, rank_for_error
from svdflow.svd import costs
from svdflow.svd.random_blocks import uniform

METHODS = ("auto", "full", "gram", "krylov", "shift", "lanczos", "rsvd", "single_pass")

FULL_ENTRIES, FULL_LARGEST = 2**23, 2**25  # LAPACK needs the matrix in memory, three times over
FULL_SHARE = 0.4  # of the smaller side, above which nothing is saved by truncation
GRAM_LARGEST = 4096
# m n^2 above which A^H A of a matrix in single precision is formed in it, and polished by the last read
GRAM_SINGLE = 2e10
OPEN_RANK = 4  # min(m, n) over the rank that is reckoned with where an error or energy chooses it
OVERSAMPLING, WIDENING = 10, 0.25  # of the block width over k
FIRST_BLOCK, LARGEST_BLOCK = 32, 256  # where the rank is not known beforehand
MAX_READS, RSVD_READS, SHIFT_READS, LANCZOS_READS = 16, 6, 40, 500
LANCZOS_BLOCK = 8  # of 4, 8, 16: about the columns in all of 4, half its reads; 16 costs more columns
SAMPLE_ROWS, SAMPLE_BANDS = 16, 16  # rows over block width, and in how many bands
SAMPLE_SHARE = 16  # rows of the matrix over rows of the sample, at least
SPARSE_WIDTH, SPARSE_READS = 32, 24  # two slices of a cache line; narrow blocks make better Krylov spaces
GROUPS, GROUP_BYTES = 32, 256 * 2**20
GROUP_ROWS = 2500  # below which making and adding up a group's sum would cost a twentieth of its products
DEVICE_PANEL = 128 * 2**20  # where each kernel has a price, and one stream computes
FINAL_EXTRA = 4  # Ritz vectors beyond k that the last read carries along, at least
PROBE_COLUMNS = 10  # random columns that it carries for the spectral certificate
LANES = 16  # columns that matrix products like to have in multiples


@dataclass(frozen=True)
class Target:
    """What decides the rank: a number, a relative Frobenius error or a share of energy."""

    rank: int | None = None
    error: float | None = None
    energy: float | None = None

    def choose(self, s: np.ndarray, total: float | None = None) -> int | None:
        """Rank by singular values `s` of a matrix of energy `total`; None where they do not reach the target.

        Without `total`, `s` are all singular values.

        At least 1, also for the zero matrix.
        """
        if self.rank is not None:
            return self.rank if self.rank <= len(s) else None
        if self.error is not None:
            chosen = rank_for_error(s, self.error, total)
        else:
            assert self.energy is not None
            chosen = rank_for_energy(s, self.energy, total)
        return None if chosen is None else max(1, chosen)


@dataclass(frozen=True)
class Plan:
    """How one matrix is factorized. `tall` is the matrix or, where that is wide, its conjugate transpose."""

    method: str
    target: Target
    tall: MatrixSource
    transposed: bool
    work: np.dtype  # of products in the iteration
    wide: np.dtype  # of sums, of the small side and of the last read
    output: np.dtype  # of U and Vt
    bounds: tuple[tuple[int, int], ...]
    groups: tuple[tuple[tuple[int, int], ...], ...]
    widths: tuple[int, ...]  # of the Krylov blocks, one a read
    tol: float
    center: str | None  # None, "columns" or "rows" of `tall`
    why: str = ""

    sample: tuple[tuple[int, int], ...] = ()  # rows that the first block of a Krylov space is learnt from

    def last_width(self, k: int) -> int:
        """Ritz vectors of the last read for rank k: its products are a multiple of 16 wide, probes included."""
        return -(-(k + FINAL_EXTRA + PROBE_COLUMNS) // LANES) * LANES - PROBE_COLUMNS

    @property
    def panel_height(self) -> int:
        return max(stop - start for start, stop in self.bounds)

    def memory(self, threads: int, *, keep_factor: bool = True) -> int:
        """Bytes at the peak, roughly: panels and partial sums in flight, the basis, the long factor."""
        m, n = self.tall.shape
        wide, output = self.wide.itemsize, self.output.itemsize
        if self.method == "full":
            return m * n * (self.tall.dtype.itemsize + 3 * wide)
        width = n if self.method == "gram" else max(self.widths)
        if self.method == "single_pass":
            return int(m * width * wide + 4 * n * width * wide + 4 * threads * PANEL_BYTES)
        columns = {
            "gram": 2 * n,
            "shift": 6 * width,
            "rsvd": 6 * width,
            "lanczos": 3 * lanczos_columns(self.target.rank or FIRST_BLOCK, n),
        }
        basis = n * wide * columns.get(self.method, 2 * min(n, sum(self.widths)))
        entry = self.tall.itemsize if self.tall.sparse else wide
        panel = self.panel_height * (n * (entry + self.tall.itemsize) + 3 * width * wide)
        sums = n * width * wide * (2 * min(threads, len(self.groups)) + 6)
        k = self.target.rank or min(n, sum(self.widths))
        factor = 2 * m * (k + FINAL_EXTRA + LANES) * output if keep_factor else 0
        return int(basis + sums + min(threads, len(self.groups)) * panel + factor + 3 * k * n * wide)


def make_plan(
    source: MatrixSource,
    target: Target,
    *,
    method: str,
    tol: float,
    block_size: int | None,
    max_reads: int | None,
    center: bool,
    backend: str = "numpy",
    seed: int = 0,
) -> Plan:
    """Choose method, orientation, block widths, panels and their groups."""
    transposed = source.shape[0] < source.shape[1] and source.column_access
    tall = TransposedSource(source) if transposed else source
    method, why = _cheapest(source, target, block_size, tol) if method == "auto" else (method, "as asked")
    wide = np.dtype(np.complex128 if source.dtype.kind == "c" else np.float64)
    narrow = np.dtype(np.complex64 if source.dtype.kind == "c" else np.float32)
    single = costs.is_single(source.dtype)
    output = narrow if single else wide
    narrows = method in ("krylov", "shift", "rsvd") or (method == "gram" and _gram_in_single(source, target))
    # A sparse panel is centred by a difference of products, which in single precision loses what lies below the mean.
    narrows = narrows and not (source.sparse and center)
    work = narrow if single and narrows else wide
    itemsize = (work.itemsize + 4) * tall.density if tall.sparse else work.itemsize
    panel_bytes = DEVICE_PANEL if backend == "cupy" else PANEL_BYTES
    bounds = tuple(panel_bounds(tall.shape, itemsize * PANEL_BYTES / panel_bytes, tall.row_bands))
    widths = _widths(method, min(source.shape), target, block_size, max_reads, tall.sparse)
    width = tall.shape[1] if method == "gram" else max(widths)
    return Plan(
        method,
        target,
        tall,
        transposed,
        work,
        wide,
        output,
        bounds,
        (bounds,) if backend == "cupy" else _groups(bounds, tall.shape[1] * width * wide.itemsize),
        widths,
        tol,
        None if not center else "rows" if transposed else "columns",
        why,
        _sample(tall, widths[0], seed) if method == "krylov" else (),
    )


def _gram_in_single(source: MatrixSource, target: Target) -> bool:
    """Whether ``A^H A`` of a matrix in single precision is worth forming in it: not for the rank's sake."""
    return target.rank is not None and max(source.shape) * min(source.shape) ** 2 > GRAM_SINGLE


def choose_method(source: MatrixSource, target: Target, tol: float = costs.USUAL_TOL) -> str:
    """``full``, ``gram`` or ``krylov`` by what each costs; see `svdflow.svd.costs`."""
    return _cheapest(source, target, None, tol)[0]


def candidates(source: MatrixSource, target: Target, tol: float = costs.USUAL_TOL) -> dict[str, float]:
    """Expected seconds of each method that may be taken, on the reference machine."""
    m, n = max(source.shape), min(source.shape)
    rank = target.rank or max(1, n // OPEN_RANK)
    width = SPARSE_WIDTH if source.sparse else _first_width(rank)
    blocks = costs.krylov_reads(tol) * (1 if target.rank is not None else 2)
    blocks *= 2 if source.sparse else 1  # narrower ones
    single = costs.is_single(source.dtype)
    halved = single and _gram_in_single(source, target)
    times = costs.seconds(
        costs.problem(
            source, width=width, last=rank + LANES, blocks=blocks, single=single, single_gram=halved
        )
    )
    if m * n > FULL_ENTRIES:
        del times["full"]
    if n > GRAM_LARGEST:
        del times["gram"]
    return times


def _cheapest(source: MatrixSource, target: Target, block_size: int | None, tol: float) -> tuple[str, str]:
    """The method, and why."""
    if block_size is not None:
        return "krylov", "a block size was given"
    m, n = max(source.shape), min(source.shape)
    if target.rank is not None and target.rank > FULL_SHARE * n and m * n <= FULL_LARGEST:
        return "full", f"a rank above {FULL_SHARE} min(m, n) leaves nothing to save"
    times = candidates(source, target, tol)
    return min(times, key=times.__getitem__), costs.described(times)


def fit_threads(plan: Plan, threads: int, limit: int | None, *, keep_factor: bool) -> int:
    """Tasks at a time that the memory limit allows; raises `MemoryLimitError` where not even one fits."""
    if limit is None:
        return threads
    while threads > 1 and plan.memory(threads, keep_factor=keep_factor) > limit:
        threads -= 1
    needed = plan.memory(threads, keep_factor=keep_factor)
    if needed > limit:
        raise MemoryLimitError(
            f"{plan.tall.name}: method {plan.method!r} needs about {_size(needed)}, the memory limit is "
            f"{_size(limit)}; set memory_limit to {_size(needed)} or more, or ask for a smaller rank"
        )
    return threads


def _first_width(rank: int) -> int:
    """About k + max(10, k / 4), as a multiple of 16."""
    return -(-(rank + max(OVERSAMPLING, int(WIDENING * rank))) // LANES) * LANES


def lanczos_columns(rank: int, side: int, block: int = LANCZOS_BLOCK) -> int:
    """Most columns of the Lanczos basis; twice as many n-sized columns are in memory."""
    return min(side, max(2 * rank + 8 * block, rank + 12 * block))


def _widths(
    method: str, side: int, target: Target, block_size: int | None, max_reads: int | None, sparse: bool
) -> tuple[int, ...]:
    """Width of the block of each read but the last."""
    rank = target.rank or FIRST_BLOCK
    one = min(side, block_size or _first_width(rank))
    if method in ("rsvd", "shift"):
        return (one,) * ((max_reads or (RSVD_READS if method == "rsvd" else SHIFT_READS)) - 1)
    if method == "single_pass":
        return (min(side, max(rank, block_size or 2 * rank + OVERSAMPLING)),)
    if method == "lanczos":
        return (min(side, rank + LANCZOS_BLOCK), *(LANCZOS_BLOCK,) * ((max_reads or LANCZOS_READS) - 2))
    return _krylov_widths(
        side, target, block_size, max_reads or (SPARSE_READS if sparse else MAX_READS), sparse
    )


def _krylov_widths(
    side: int, target: Target, block_size: int | None, max_reads: int, sparse: bool
) -> tuple[int, ...]:
    """Together at most `side`. Of a sparse matrix the first block is wide, to see values that are repeated."""
    steps = range(max_reads - 1)
    if block_size is not None:
        asked = [block_size for _ in steps]
    elif target.rank is not None:
        first = _first_width(target.rank)
        asked = [min(first, SPARSE_WIDTH) if sparse and step else first for step in steps]
    else:
        asked = [min(LARGEST_BLOCK, FIRST_BLOCK * 2**step) for step in steps]
    widths: list[int] = []
    for width in asked:
        left = side - sum(widths)
        if left:
            widths.append(min(width, left))
    return tuple(widths)


def _sample(tall: MatrixSource, width: int, seed: int) -> tuple[tuple[int, int], ...]:
    """Bands of rows to learn the first block from, one in each of as many equal strata; none where they are not few.

    They depend on the size of the matrix only, not on how it is stored, so that all layouts take the same steps.
    """
    m = tall.shape[0]
    height = -(-SAMPLE_ROWS * width // SAMPLE_BANDS)
    if tall.sparse or m < SAMPLE_SHARE * SAMPLE_BANDS * height:
        return ()
    edges = [m * i // SAMPLE_BANDS for i in range(SAMPLE_BANDS + 1)]
    shares = uniform(seed, SAMPLE_BANDS)
    starts = [
        low + int(share * (high - low - height + 1))
        for share, (low, high) in zip(shares, pairwise(edges), strict=True)
    ]
    return tuple((start, start + height) for start in starts)


def _groups(bounds: tuple, sum_bytes: int) -> tuple:
    """Panels in contiguous groups, one a task; their number never depends on the workers."""
    rows = bounds[-1][1]
    number = min(len(bounds), GROUPS, max(4, min(rows // GROUP_ROWS, GROUP_BYTES // max(1, sum_bytes))))
    cuts = [len(bounds) * i // number for i in range(number + 1)]
    return tuple(bounds[a:b] for a, b in pairwise(cuts))


def _size(number: float) -> str:
    return f"{number / 2**30:.2f}GiB" if number >= 2**29 else f"{number / 2**20:.0f}MiB"
