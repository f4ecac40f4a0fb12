"""Regret of the stopping rule: reads that were taken against the fewest at which the true error meets the tolerance.

One record a matrix and seed: what `truncated_svd` did at every tolerance, and every prefix of the same run, judged by
the known spectrum (`accuracy.values_error`). Seconds are of the CPU, summed over threads, of whole calls.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from svdbench.accuracy import values_error
from svdbench.regret_matrices import Shape, matrix, resolution
from svdbench.watched_searches import Prefix, RecordedSearch, StoppedSearch, searching
from svdflow import ConvergenceWarning, truncated_svd
from svdflow.study.digest import code_digest
from svdflow.svd.widths import LANES, first_width

TOLERANCES = (3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4, 1e-5)
# Block widths beside the default one, as multiples of it (rounded up to 16 columns).
WIDTHS = (0.5, 1.0, 2.0)
# Calls that took less are made REPEATS times, and the least counts: one alone varies by a third.
SHORT_SECONDS, REPEATS = 0.3, 3
CALLED = "svdflow.svd.factorization:truncated_svd"


@dataclass(frozen=True)
class Run:
    """One call of `truncated_svd`."""

    tol: float
    method: str
    reads: int
    error: float
    seconds: float
    reason: str
    estimate: float


@dataclass
class Record:
    """One matrix and seed; `prefixes` and `seconds` by block width, as text.

    Attributes
    ----------
    runs : list of Run
        By method ``krylov``, whose rule is judged.
    typed : list of Run
        As a user types it, by method ``auto``; where that takes krylov they are the same.
    prefixes : dict of list of Prefix
        All prefixes of a run with that block width, up to the tightest tolerance.
    seconds : dict of list of (reads, kept, seconds)
        Of those prefixes that are the first to meet some tolerance.
    resolution : float
        PVE that the matrix's type does not resolve.
    """

    shape: str
    spectrum: str
    seed: int
    code: str
    machine: str
    width: int
    resolution: float
    runs: list[Run] = field(default_factory=list)
    typed: list[Run] = field(default_factory=list)
    prefixes: dict[str, list[Prefix]] = field(default_factory=dict)
    seconds: dict[str, list[tuple[int, bool, float]]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        return self.shape, self.spectrum, self.seed

    def line(self) -> str:
        """As a line of JSON, figures to four digits."""
        rounded = json.loads(json.dumps(asdict(self)), parse_float=lambda text: float(f"{float(text):.4g}"))
        return json.dumps(rounded, separators=(",", ":"))

    @staticmethod
    def of(line: str) -> "Record":
        found = json.loads(line)
        for name in ("runs", "typed"):
            found[name] = [Run(**run) for run in found[name]]
        found["prefixes"] = {w: [Prefix(**p) for p in ps] for w, ps in found["prefixes"].items()}
        found["seconds"] = {w: [(r, k, s) for r, k, s in rows] for w, rows in found["seconds"].items()}
        return Record(**found)


def load(path: Path) -> list[Record]:
    return (
        [Record.of(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


def merged(old: Iterable[Record], new: Iterable[Record]) -> list[Record]:
    """Records of the same matrix and seed are replaced; sorted."""
    found = {record.key: record for record in [*old, *new]}
    return [found[key] for key in sorted(found)]


def code() -> str:
    """Digest of all modules that `truncated_svd` reaches: records of another are measured anew."""
    return code_digest([CALLED], Path(__file__).resolve().parents[2] / "scripts")[:12]


def measured(
    shapes: Sequence[Shape],
    spectra: Sequence[str],
    seeds: Sequence[int],
    *,
    done: Iterable[tuple[str, str, int]] = (),
    widths: Sequence[float] = WIDTHS,
    until: float = np.inf,
    machine: str = "",
    code: str = "",
    say: Callable[[str], None] = print,
) -> Iterator[Record]:
    """Records of all combinations but those `done`, seed by seed, so that a run that is ended has a bit of everything.

    No matrix is begun after `until`, of `time.monotonic`.
    """
    known = set(done)
    for seed in seeds:
        for shape in shapes:
            for name in spectra:
                if (shape.name, name, seed) in known:
                    continue
                if time.monotonic() > until:
                    say("  the time is used up; begin again to go on")
                    return
                begun = time.monotonic()
                record = one_record(shape, name, seed, widths=widths, machine=machine, code=code)
                reads = "/".join(str(run.reads) for run in record.runs)
                say(f"  {shape.name}, {name}, seed {seed}: reads {reads}, {time.monotonic() - begun:.0f} s")
                yield record


def one_record(
    shape: Shape,
    name: str,
    seed: int,
    *,
    tolerances: Sequence[float] = TOLERANCES,
    widths: Sequence[float] = WIDTHS,
    machine: str = "",
    code: str = "",
) -> Record:
    """What `truncated_svd` does on one matrix at every tolerance, and its prefixes at every block width."""
    A, true = matrix(name, shape)
    judge = _remembering(partial(values_error, A, true=true))
    usual = min(first_width(shape.rank), min(A.shape))
    record = Record(shape.name, name, seed, code, machine, usual, resolution(A, true, shape.rank))
    one_run(A, shape.rank, max(tolerances), seed, "krylov", judge)  # takes what only a first call does
    for tol in tolerances:
        typed = one_run(A, shape.rank, tol, seed, "auto", judge)
        record.typed.append(typed)
        same = typed.method == "krylov"
        record.runs.append(typed if same else one_run(A, shape.rank, tol, seed, "krylov", judge))
    for width in dict.fromkeys([1.0, *widths]):
        # The default is not asked for by its number: a sparse matrix has a wide first block, and narrow ones after it.
        columns = None if width == 1 else -(-int(width * usual) // LANES) * LANES
        label = str(columns or usual)
        if label in record.prefixes:
            continue
        prefixes = recorded(A, shape.rank, seed, columns, judge, tolerances)
        record.prefixes[label] = prefixes
        record.seconds[label] = [
            (*key, stopped_seconds(A, shape.rank, seed, columns, tol, *key, loosest=max(tolerances)))
            for key, tol in _wanted(prefixes, tolerances).items()
        ]
    return record


def one_run(A: Any, k: int, tol: float, seed: int, method: str, judge: Callable[[Any], float]) -> Run:
    result, seconds = _timed(partial(truncated_svd, A, k, tol=tol, seed=seed, method=method))
    info = result.info
    return Run(tol, info.method, info.reads, judge(result.U), seconds, info.reason, float(info.estimate))


def recorded(
    A: Any,
    k: int,
    seed: int,
    width: int | None,
    judge: Callable[[Any], float],
    tolerances: Sequence[float] = TOLERANCES,
) -> list[Prefix]:
    """Every prefix of a run by krylov, until the tightest tolerance is met or no more reads are allowed."""
    prefixes: list[Prefix] = []
    loosest, tightest = max(tolerances), min(tolerances)
    watched = searching(RecordedSearch, loosest=loosest, judge=judge, enough=tightest, prefixes=prefixes)
    with warnings.catch_warnings(), watched:
        warnings.simplefilter("ignore", ConvergenceWarning)
        truncated_svd(A, k, tol=tightest, seed=seed, method="krylov", block_size=width)
    return prefixes


def stopped_seconds(
    A: Any, k: int, seed: int, width: int | None, tol: float, reads: int, kept: bool, *, loosest: float
) -> float:
    """CPU seconds of a run that knows beforehand after how many reads to stop."""
    with searching(StoppedSearch, loosest=loosest, reads=reads, kept=kept):
        run = partial(truncated_svd, A, k, tol=tol, seed=seed, method="krylov", block_size=width)
        result, seconds = _timed(run)
    if result.info.reads != reads:
        raise RuntimeError(f"a run that should stop after {reads} reads took {result.info.reads}")
    return seconds


def first_to_meet(prefixes: Iterable[Prefix], tol: float) -> Prefix | None:
    """The prefix of the fewest reads whose error is at most `tol`; of two that read as often, the one of kept rows."""
    enough = [prefix for prefix in prefixes if prefix.error <= tol]
    return min(enough, key=lambda prefix: (prefix.reads, not prefix.kept)) if enough else None


def _wanted(prefixes: Sequence[Prefix], tolerances: Sequence[float]) -> dict[tuple[int, bool], float]:
    """The prefixes that are the first to meet a tolerance, and the loosest such tolerance."""
    found: dict[tuple[int, bool], float] = {}
    for tol in sorted(tolerances, reverse=True):
        best = first_to_meet(prefixes, tol)
        if best is not None:
            found.setdefault((best.reads, best.kept), tol)
    return found


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and CPU seconds: the least of three where they are few."""
    least = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(REPEATS):
            begun = time.process_time()
            result = run()
            least = min(least, time.process_time() - begun)
            if least > SHORT_SECONDS:
                break
    return result, float(least)


def _remembering(judge: Callable[[Any], float]) -> Callable[[Any], float]:
    """Factors of the same bits are judged once."""
    known: dict[bytes, float] = {}

    def remembered(U: Any) -> float:
        key = _fingerprint(U)
        if key not in known:
            known[key] = judge(U)
        return known[key]

    return remembered


def _fingerprint(U: Any) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(U)).digest()
