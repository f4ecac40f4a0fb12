"""What a method is to the rest of svdflow: how wide its blocks are, what memory it takes, and how it is run."""

from dataclasses import dataclass, replace
from pathlib import Path

from svdflow.compute import Device
from svdflow.compute.engine import Engine
from svdflow.errors import EngineLostError
from svdflow.matrix.sources import MatrixSource
from svdflow.svd.assembly import Sink, finished
from svdflow.svd.checkpoint import Journal, identity_of
from svdflow.svd.matrix_free import OperatorReader
from svdflow.svd.plan import Plan, Target
from svdflow.svd.read.converted_panels import Panels
from svdflow.svd.read.kept_rows import KeptRows
from svdflow.svd.result import SVDResult
from svdflow.svd.sparse_reader import reader_for
from svdflow.svd.subspace import OneProposal, Reader, Search, Subspace
from svdflow.svd.widths import FINAL_EXTRA, FIRST_BLOCK, LANES, PROBE_COLUMNS, first_width


@dataclass(frozen=True)
class Factorization:
    """One factorization to be done: the matrix, the plan, and where its parts are computed and go.

    Attributes
    ----------
    source : MatrixSource
    plan : Plan
    device : Device
    engine : Engine
    seed : int
    scale : bool
        Whether columns are divided by their standard deviations.
    checkpoint : path or None
        Folder for the sums of finished reads.
    sink : callable or None
        As of `svdflow.svd.factorize`.
    scratch : path or None
        Folder for temporary files.
    limited : bool
        Whether a memory limit was given.
    """

    source: MatrixSource
    plan: Plan
    device: Device
    engine: Engine
    seed: int = 0
    scale: bool = False
    checkpoint: str | Path | None = None
    sink: Sink | None = None
    scratch: str | Path | None = None
    limited: bool = False

    @property
    def on_disk(self) -> bool:
        """Whether rows that reads leave behind wait in a file: where memory is limited, or the matrix is not in it."""
        return self.streamed or self.limited or not self.plan.tall.in_memory

    @property
    def streamed(self) -> bool:
        """Whether the left factor goes to the sink panel by panel."""
        return self.sink is not None and not self.plan.transposed


class Algorithm:
    """A method of truncated SVD; what the registry declares is a subclass.

    A method that finds right Ritz vectors and knows when to stop defines `find` alone. One that has its last read
    judge defines `search`, and one that does without the last read `factorize`.

    Attributes
    ----------
    reads : int
        Passes over the matrix at most, the one for U included, where `max_reads` is not given.
    least_reads : int
        Passes that it cannot do without.
    single : bool
        Whether matrices in single precision are multiplied in it; products are in double precision otherwise.
    group_height : float
        Least rows of a group of panels, over those of a read that multiplies by a block.
    panel_share : float
        Bytes of a dense panel, over those of a read that multiplies by a block.
    mixes : bool
        Whether its search may multiply in fast products, because it judges what a last read in full precision gives.
    """

    reads = 16
    least_reads = 2
    single = mixes = False
    group_height = 1.0
    panel_share = 1.0

    def check(self, source: MatrixSource, *, scale: bool) -> None:
        """Raise ValueError for what the method cannot do."""

    def in_single(self, source: MatrixSource, target: Target, tol: float) -> bool:
        """Whether products are in single precision, where the matrix is."""
        return self.single

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        """Columns of the block of each read but the last."""
        one = min(min(tall.shape), block_size or first_width(target.rank or FIRST_BLOCK))
        return (one,) * ((max_reads or self.reads) - 1)

    def sample(self, tall: MatrixSource, width: int, seed: int) -> tuple[tuple[int, int], ...]:
        """Bands of rows that the first block, of that width, is learnt from."""
        return ()

    def columns(self, plan: Plan) -> int:
        """Columns of length n, of the side that is kept, that are in memory at a time."""
        return 6 * max(plan.widths)

    def memory(self, plan: Plan, threads: int, *, keep_factor: bool = True) -> int:
        """Bytes at the peak, roughly: panels and partial sums in flight, the basis, the long factor."""
        (m, n), tall = plan.tall.shape, plan.tall
        wide, width = plan.wide.itemsize, max(plan.widths)
        tasks = min(threads, len(plan.groups))
        basis = n * wide * self.columns(plan)
        entry = tall.itemsize if tall.sparse else wide
        panel = plan.panel_height * (n * (entry + tall.itemsize) + 3 * width * wide)
        sums = n * width * wide * (2 * tasks + 6)
        k = plan.target.rank or min(n, sum(plan.widths))
        factor = 2 * m * (k + FINAL_EXTRA + LANES) * plan.output.itemsize if keep_factor else 0
        if tall.matrix_free:  # no panels, but products of all rows
            panel, factor = 0, factor + 4 * m * (max(width, k + LANES) + PROBE_COLUMNS) * wide
        return int(basis + sums + tasks * panel + factor + 3 * k * n * wide)

    def keeps_rows(self, plan: Plan) -> bool:
        """Whether reads keep rows of ``A X``, of which U is made without another one."""
        return False

    def makes_rows(self, plan: Plan) -> bool:
        """Whether U is made of ``A (K C)`` once the triplets are known, by half a read in the place of a last one."""
        return False

    def standardized(self, plan: Plan, max_reads: int | None) -> Plan:
        """The plan where columns are to be divided by their deviations; here they take no read."""
        return plan

    def search(self, plan: Plan, reader: Reader, seed: int) -> Search:
        """What proposes subspaces, and judges them after their last read."""
        return OneProposal(self.find, plan, reader, seed)

    def find(self, plan: Plan, reader: Reader, seed: int) -> Subspace:
        """Right Ritz vectors: the only proposition of a method that has one."""
        raise NotImplementedError

    def factorize(self, task: Factorization) -> SVDResult:
        """Search a subspace, read the matrix for U once more, and put the factors together."""
        plan, engine, seed = task.plan, task.engine, task.seed
        journal = None
        if task.checkpoint:
            journal = Journal(task.checkpoint, identity_of(task.source, plan, seed, scale=task.scale))
        on_disk = task.on_disk or not engine.shared_memory
        rows, kept = None, self.keeps_rows(plan)
        if kept or self.makes_rows(plan):
            rows = KeptRows(plan, on_disk=on_disk, folder=task.scratch, by_reads=kept)
        panels = Panels.of(plan, task.device, standardized=task.scale)
        if plan.tall.matrix_free:
            reader: Reader = OperatorReader(plan, panels, engine, rows, seed)
        else:
            reader = reader_for(plan, panels, engine, journal, rows)
        try:
            search = self.search(plan, reader, seed)
            result = finished(task.source, plan, search, reader, seed, task.sink, task.scratch, task.streamed)
        except EngineLostError as lost:
            done = journal.reads if journal else 0
            raise type(lost)(f"{task.source.name}: {lost}; run again: {done} reads are kept") from lost
        finally:
            if rows is not None:
                rows.close()
        if journal:
            journal.close()
        return result


class DeviationsFirst(Algorithm):
    """A method that reads standard deviations of columns before its first product, where the plan is not transposed."""

    def standardized(self, plan: Plan, max_reads: int | None) -> Plan:
        if plan.transposed or max_reads is None:
            return plan
        if len(plan.widths) < 2:
            raise ValueError(f"max_reads must be at least 3 for method {plan.method!r} with scale=True")
        return replace(plan, widths=plan.widths[:-1])
