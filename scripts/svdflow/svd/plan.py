"""How a factorization is done: a pure function of shape, dtype, sparsity, layout, rank, accuracy and the table below.

Free memory and measured speed have no say in it, so they cannot change bits. A plan that does not fit the memory
limit runs fewer tasks at a time, or is refused with the limit it needs.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from svdflow.compute.device import Device
from svdflow.errors import MemoryLimitError
from svdflow.matrix.panels import PANEL_BYTES, panel_bounds
from svdflow.matrix.sources import MatrixSource
from svdflow.ranks.spectrum_rules import rank_for_energy, rank_for_error
from svdflow.registry import AUTO, SVD_METHODS, svd_methods_for
from svdflow.svd import costs

# Each of these is part of the plan: another value gives other bits.

# A rank above FULL_SHARE of the smaller side goes to LAPACK, where the matrix has at most FULL_LARGEST entries (800 MB
# for three copies): a basis of that width leaves nothing to save. Up to costs.FULL_ENTRIES the cost model prefers
# LAPACK from a quarter of the side on; the rule is for larger matrices, where the model does not consider it.
FULL_SHARE, FULL_LARGEST = 0.4, 2**25
# Panels are summed in at most GROUPS groups, one a task, of at least GROUP_ROWS rows each (in fewer, making and adding
# up their sums would take a twentieth of the time) and of sums that take GROUP_BYTES together at most (chosen;
# other numbers of groups take as long to 10 %, benchmarks/results/constants.md).
GROUPS, GROUP_BYTES, GROUP_ROWS = 32, 256 * 2**20, 2500
# Bytes of a panel on a device, where every kernel has a price and one stream computes (chosen for a GPU; on a host it
# is matrix.panels.PANEL_BYTES).
DEVICE_PANEL = 128 * 2**20


# What `precision` may be: reads of a search in full precision, or in a device's fast products.
FULL, MIXED = PRECISIONS = ("full", "mixed")


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
    work: np.dtype  # products of the iteration are in this
    wide: np.dtype  # sums, blocks on the smaller side and mostly the last read are in this
    output: np.dtype  # U and Vt are in this
    bounds: tuple[tuple[int, int], ...]
    groups: tuple[tuple[tuple[int, int], ...], ...]
    widths: tuple[int, ...]  # columns of the block of each read but the last
    tol: float
    center: str | None  # None, "columns" or "rows" of `tall`
    why: str = ""

    sample: tuple[tuple[int, int], ...] = ()  # rows that the first block of a Krylov space is learnt from
    precision: str = FULL

    @property
    def algorithm(self) -> Any:
        """The code of the method, a `svdflow.svd.algorithm.Algorithm`."""
        return algorithm_of(self.method)

    @property
    def panel_height(self) -> int:
        return max(stop - start for start, stop in self.bounds)


def algorithm_of(method: str) -> Any:
    """The code of a method that the registry knows, imported now: other methods do not concern a job."""
    return SVD_METHODS.find(method).code()()


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
    tall = source.adjoint() if transposed else source
    method, why = _cheapest(source, target, block_size, tol) if method == AUTO else (method, "as asked")
    wide = np.dtype(np.complex128 if source.dtype.kind == "c" else np.float64)
    narrow = np.dtype(np.complex64 if source.dtype.kind == "c" else np.float32)
    single = costs.is_single(source.dtype)
    output = narrow if single else wide
    algorithm = algorithm_of(method)
    # A sparse panel is centred by a difference of products, which in single precision loses what lies below the mean.
    narrows = algorithm.in_single(source, target, tol) and not (source.sparse and center)
    work = narrow if single and narrows else wide
    itemsize = (work.itemsize + 4 * tall.sparse) * tall.density
    panel_bytes = float(DEVICE_PANEL if backend == "cupy" else PANEL_BYTES)
    panel_bytes *= 1.0 if tall.sparse else algorithm.panel_share
    bounds = tuple(panel_bounds(tall.shape, itemsize * PANEL_BYTES / panel_bytes, tall.row_bands))
    widths = algorithm.widths(tall, target, block_size, max_reads)
    return Plan(
        method,
        target,
        tall,
        transposed,
        work,
        wide,
        output,
        bounds,
        (bounds,)
        if backend == "cupy"
        else _groups(
            bounds, tall.shape[1] * max(widths) * wide.itemsize, algorithm.group_height * GROUP_ROWS
        ),
        widths,
        tol,
        None if not center else "rows" if transposed else "columns",
        why,
        algorithm.sample(tall, widths[0], seed),
    )


def in_precision(plan: Plan, precision: str, device: Device, max_reads: int | None) -> Plan:
    """The plan with fast products in its search, where they were asked for and can be had; else a note says why not."""
    if precision == FULL:
        return plan
    if device.fast is None:
        lacking = "on this device"
    elif not plan.algorithm.mixes:
        lacking = f"by method {plan.method!r}"
    elif plan.tall.sparse or plan.tall.matrix_free:
        lacking = "of a matrix that is sparse or known by its products"
    elif plan.work == plan.wide:
        lacking = "in double precision"
    else:
        device.notes.append(f"searched by products in {device.fast.name}")
        # A basis may begin anew, with fewer columns than a block has, and reach the smaller side once more.
        widths = (plan.widths * 3)[: (max_reads or plan.algorithm.reads) - 1]
        return replace(plan, precision=MIXED, widths=widths)
    device.notes.append(f"no fast products {lacking}: computed in full precision")
    return plan


def choose_method(source: MatrixSource, target: Target, tol: float = costs.USUAL_TOL) -> str:
    """``full``, ``gram`` or ``krylov`` by what each costs; see `svdflow.svd.costs`."""
    return _cheapest(source, target, None, tol)[0]


def candidates(source: MatrixSource, target: Target, tol: float = costs.USUAL_TOL) -> dict[str, float]:
    """Expected seconds of each method that ``auto`` may take, on the reference machine."""
    problem = costs.problem(source, target.rank, tol)
    times = {declared.name: declared.seconds(problem) for declared in svd_methods_for(AUTO)}
    return {name: time for name, time in times.items() if time < math.inf}


def _cheapest(source: MatrixSource, target: Target, block_size: int | None, tol: float) -> tuple[str, str]:
    """The method, and why."""
    if block_size is not None:
        return "krylov", "a block size was given"
    if source.matrix_free:
        return "krylov", "the matrix is known by its products"
    m, n = max(source.shape), min(source.shape)
    if target.rank is not None and target.rank > FULL_SHARE * n and m * n <= FULL_LARGEST:
        return "full", f"a rank above {FULL_SHARE} min(m, n) leaves nothing to save"
    times = candidates(source, target, tol)
    return min(times, key=times.__getitem__), costs.described(times)


def fit_threads(plan: Plan, threads: int, limit: int | None, *, keep_factor: bool, beside: int = 0) -> int:
    """Tasks at a time that the memory limit allows; raises `MemoryLimitError` where not even one fits.

    `beside` are bytes that processes take which were started for the work.
    """
    if limit is None:
        return threads
    while threads > 1 and beside + plan.algorithm.memory(plan, threads, keep_factor=keep_factor) > limit:
        threads -= 1
    needed = beside + plan.algorithm.memory(plan, threads, keep_factor=keep_factor)
    if needed > limit:
        raise MemoryLimitError(
            f"{plan.tall.name}: method {plan.method!r} needs about {_size(needed)}, the memory limit is "
            f"{_size(limit)}; set memory_limit to {_size(needed)} or more, or ask for a smaller rank"
        )
    return threads


def _groups(
    bounds: tuple[tuple[int, int], ...], sum_bytes: int, least_rows: float
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Panels in contiguous groups, one a task; their number never depends on the workers."""
    rows = bounds[-1][1]
    number = min(len(bounds), GROUPS, max(4, min(int(rows / least_rows), GROUP_BYTES // max(1, sum_bytes))))
    cuts = [len(bounds) * i // number for i in range(number + 1)]
    return tuple(bounds[a:b] for a, b in pairwise(cuts))


def _size(number: float) -> str:
    return f"{number / 2**30:.2f}GiB" if number >= 2**29 else f"{number / 2**20:.0f}MiB"
