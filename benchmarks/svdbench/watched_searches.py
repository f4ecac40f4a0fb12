"""Searches of `krylov` that stop where a benchmark says, and are judged by it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from svdflow.svd.methods import krylov
from svdflow.svd.methods.krylov import KrylovSearch


@dataclass(frozen=True)
class Prefix:
    """What a run gives that stops after so many reads: with U from rows that were kept, or by a last read."""

    reads: int
    kept: bool
    error: float


class _Watched(KrylovSearch):
    """Takes kept rows wherever the loosest tolerance would, as what they are worth is judged by the truth."""

    def __init__(self, plan: Any, reader: Any, seed: int, loosest: float) -> None:
        super().__init__(replace(plan, tol=loosest), reader, seed)

    def _overlooked(self) -> bool:
        return False


class RecordedSearch(_Watched):
    """One run of which every prefix is judged: factors are made after each read, of kept rows and by a last read.

    Parameters
    ----------
    judge : callable
        From U (m, k) to its true error.
    enough : float
        Error at which the run ends.
    """

    def __init__(
        self,
        plan: Any,
        reader: Any,
        seed: int,
        loosest: float,
        judge: Callable[[np.ndarray], float],
        enough: float,
        prefixes: list[Prefix],
    ) -> None:
        super().__init__(plan, reader, seed, loosest)
        self.judge, self.enough, self.prefixes = judge, enough, prefixes
        self.again = False  # the same basis, now with a last read

    def _grow(self) -> None:
        if not self.again:
            super()._grow()

    def _clear(self) -> bool:
        return not self.again and super()._clear()

    def _error(self) -> float:
        return 0.0

    def accepts(self, found: Any, last: Any) -> bool:
        found.reads = self.reader.reads
        U = np.empty((self.plan.tall.shape[0], len(last.s)), self.plan.output)
        last.write_U(lambda start, rows: U.__setitem__(slice(start, start + len(rows)), rows))
        kept = found.kept is not None
        error = self.judge(U)
        self.prefixes.append(Prefix(self.reader.reads + last.reads, kept, error))
        self.again = kept
        return not kept and (self.saturated or self._spent() or error <= self.enough)


class StoppedSearch(_Watched):
    """Stops after `reads` reads, the last of them for U unless `kept`."""

    def __init__(self, plan: Any, reader: Any, seed: int, loosest: float, reads: int, kept: bool) -> None:
        super().__init__(plan, reader, seed, loosest)
        by_reads = reader.rows is not None and reader.rows.by_reads
        self.steps, self.keeps = reads if kept and by_reads else reads - 1, kept

    def _clear(self) -> bool:
        return self.keeps and super()._clear()

    def _error(self) -> float:
        return 0.0 if self.step >= self.steps else inf

    def accepts(self, found: Any, last: Any) -> bool:
        found.reads = self.reader.reads
        return True


@contextmanager
def searching(make: Callable[..., Any], **settings: Any) -> Iterator[None]:
    """`krylov` searches by ``make(plan, reader, seed, **settings)`` meanwhile."""
    before = krylov.KrylovSearch
    krylov.KrylovSearch = lambda plan, reader, seed: make(plan, reader, seed, **settings)
    try:
        yield
    finally:
        krylov.KrylovSearch = before
