"""What records of regret come to: quantiles and shares by spectrum, shape and tolerance, and the rows that lose."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np

from svdbench.regret import Prefix, Record, Run, first_to_meet
from svdbench.regret_matrices import SHAPES, SMALL_SHAPES, SPECTRA
from svdbench.tables import lines_of, marked

BEGIN, END = "<!-- regret: begin -->", "<!-- regret: end -->"
# Tolerances below so many times what the matrix's type resolves are not judged.
RESOLVED = 2.0
# What issue "The SVD as it comes out of the box" asks for: shares of the runs.
WITHIN_ONE, LOOSENED_FREE, CONVERGED_TRUE = 0.95, 0.99, 0.99
NAMED = 40  # losing rows that are named at most
NOTES = """\
`make bench-svd ARGS=--regret`: `truncated_svd(A, k, tol=tol, seed=seed)` on matrices of known spectrum, at the
tolerances {tolerances}. Regret is the reads that it took, less the fewest reads at which the true error,
`max_i |s_i^2 - ||A^H u_i||^2| / s_{{k+1}}^2` in float64 against the known spectrum, meets the tolerance. For that every
prefix of the same run is judged, with U from kept rows and by a last read. The stopping rule is that of `krylov`; where
`auto` takes another method, krylov is asked for by name, and the table "as a user types it" shows what auto did.
Regret of time is CPU seconds (all threads) over those of a run that knows beforehand when to stop; "best width" is the
fastest such run over block widths of {widths} times the default. "False" counts runs that say "converged" and are not
within the tolerance; "loosened" counts neighbouring tolerances of which the looser took more reads. "Out of reach" are
runs of which no prefix meets the tolerance: they have no regret. Tolerances below {resolved:g} times what factors of
the matrix's type resolve are left out."""


@dataclass(frozen=True)
class Outcome:
    """One run beside the best that was possible.

    Attributes
    ----------
    fewest, fewest_any : int or None
        Reads of the first prefix that meets the tolerance, at the default block width and at any.
    least, least_any : float
        CPU seconds of that prefix, and of the fastest at any block width; NaN where there is none.
    """

    record: Record
    run: Run
    fewest: int | None
    fewest_any: int | None
    least: float
    least_any: float

    @property
    def regret(self) -> int | None:
        return None if self.fewest is None else self.run.reads - self.fewest

    @property
    def false(self) -> bool:
        return self.run.reason == "converged" and self.run.error > self.run.tol

    @property
    def time(self) -> float:
        return self.run.seconds / self.least

    @property
    def time_any(self) -> float:
        return self.run.seconds / self.least_any


def outcomes(records: Iterable[Record], *, typed: bool = False) -> list[Outcome]:
    """All runs at tolerances that are resolved; of the rule, or as a user types it."""
    found = []
    for record in records:
        for run in record.typed if typed else record.runs:
            if run.tol >= RESOLVED * record.resolution:
                found.append(outcome(record, run))
    return found


def outcome(record: Record, run: Run) -> Outcome:
    own = best_of(record, str(record.width), run.tol)
    others = [best_of(record, width, run.tol) for width in record.prefixes]
    reads, reads_any = own[0], min((r for r, _ in others if r is not None), default=None)
    # Runs of the same seed are prefixes too: probes may have led one off the path that the others share.
    met = [other.reads for other in record.runs if other.method == "krylov" and other.error <= run.tol]
    if met and (reads is None or min(met) < reads):
        reads = min(met)
    if reads is not None:
        reads_any = min(reads, reads if reads_any is None else reads_any)
    times = [seconds for _, seconds in others if not np.isnan(seconds)]
    return Outcome(record, run, reads, reads_any, own[1], min(times, default=float("nan")))


def best_of(record: Record, width: str, tol: float) -> tuple[int | None, float]:
    """Reads and CPU seconds of the first prefix that meets the tolerance."""
    prefix: Prefix | None = first_to_meet(record.prefixes[width], tol)
    if prefix is None:
        return None, float("nan")
    known = {(reads, kept): seconds for reads, kept, seconds in record.seconds[width]}
    return prefix.reads, known.get((prefix.reads, prefix.kept), float("nan"))


def loosened(found: Iterable[Outcome]) -> tuple[int, int]:
    """How many runs took more reads than that of the next tighter tolerance, and how many have such a neighbour."""
    costly = pairs = 0
    for one in found:
        tighter = [run for run in one.record.runs if run.tol < one.run.tol]
        if tighter:
            pairs += 1
            costly += one.run.reads > max(tighter, key=lambda run: run.tol).reads
    return costly, pairs


@dataclass(frozen=True)
class Summary:
    """Figures of a set of runs; shares are of the runs whose tolerance is in reach."""

    runs: int
    out_of_reach: int
    regret: tuple[int, ...]  # quantiles:: 5 %, median, 95 %, greatest
    within_one: float
    within_two: float
    false: int
    converged: int
    costly: int
    pairs: int
    time: tuple[float, ...]  # median, 95 %
    time_any: tuple[float, ...]

    @property
    def met(self) -> bool:
        """Whether all shares are as was asked."""
        return (
            self.within_one >= WITHIN_ONE
            and self.within_two >= 1
            and self.costly <= (1 - LOOSENED_FREE) * self.pairs
            and self.false <= (1 - CONVERGED_TRUE) * self.converged
        )


def summary(found: Sequence[Outcome]) -> Summary:
    regret = np.array([one.regret for one in found if one.regret is not None])
    nearest = quantiles(regret, (0.05, 0.5, 0.95, 1.0))
    costly, pairs = loosened(found)
    return Summary(
        runs=len(found),
        out_of_reach=len(found) - len(regret),
        regret=tuple(int(q) for q in nearest),
        within_one=float(np.mean(regret <= 1)) if len(regret) else 1.0,
        within_two=float(np.mean(regret <= 2)) if len(regret) else 1.0,
        false=sum(one.false for one in found),
        converged=sum(one.run.reason == "converged" for one in found),
        costly=costly,
        pairs=pairs,
        time=quantiles([one.time for one in found], (0.5, 0.95)),
        time_any=quantiles([one.time_any for one in found], (0.5, 0.95)),
    )


def quantiles(values: Sequence[float] | np.ndarray, shares: Sequence[float]) -> tuple[float, ...]:
    """Of the values that are numbers; each quantile is one of them."""
    real = np.asarray(values, float)
    real = real[np.isfinite(real)]
    if not len(real):
        return (0.0,) * len(shares)
    return tuple(np.quantile(real, shares, method="inverted_cdf").tolist())


# Tables

HEAD = (
    "runs",
    "regret of reads: 5 %, median, 95 %, most",
    "at most 1",
    "at most 2",
    "loosened",
    "false",
    "out of reach",
    "time: median, 95 %",
    "against the best width",
)


def cells(found: Sequence[Outcome]) -> list[str]:
    one = summary(found)
    return [
        str(one.runs),
        ", ".join(map(str, one.regret)),
        marked(f"{one.within_one:.1%}", one.within_one < WITHIN_ONE),
        marked(f"{one.within_two:.1%}", one.within_two < 1),
        marked(f"{one.costly} of {one.pairs}", one.costly > (1 - LOOSENED_FREE) * one.pairs),
        marked(f"{one.false} of {one.converged}", one.false > (1 - CONVERGED_TRUE) * one.converged),
        str(one.out_of_reach),
        ", ".join(f"{value:.2f}" for value in one.time),
        ", ".join(f"{value:.2f}" for value in one.time_any),
    ]


def grouped(found: Sequence[Outcome], name: str, key: Callable[[Outcome], str], order: Sequence[str]) -> str:
    """A row for each value of `key`, and one for all."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for one in found:
        groups[key(one)].append(one)
    rows = [[value, *cells(groups[value])] for value in order if value in groups]
    return lines_of([name, *HEAD], [["all", *cells(found)], *rows])


def losing(found: Sequence[Outcome]) -> str:
    """Matrices with a regret above 2 or a false "converged": how often, and their worst run."""
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for one in found:
        if one.false or (one.regret or 0) > 2:
            groups[one.record.spectrum, one.record.shape].append(one)
    if not groups:
        return 'No run took more than two reads too many, and none that said "converged" was wrong.'
    rows = []
    for (spectrum, shape), runs in sorted(groups.items(), key=lambda item: -len(item[1])):
        worst = max(
            runs, key=lambda one: (one.false, one.run.error / one.run.tol if one.false else one.regret or 0)
        )
        run = worst.run
        rows.append(
            [
                spectrum,
                shape,
                str(sum((one.regret or 0) > 2 for one in runs)),
                str(sum(one.false for one in runs)),
                f"seed {worst.record.seed}, tol {run.tol:g}",
                f"{run.reads} of {worst.fewest}",
                f"{run.error:.1e}",
                f"{run.estimate:.1e}",
                run.reason,
            ]
        )
    head = [
        "spectrum",
        "shape",
        "regret above 2",
        "false",
        "worst run",
        "reads",
        "error",
        "estimate",
        "reason",
    ]
    more = f"\n\nAnd {len(rows) - NAMED} more." if len(rows) > NAMED else ""
    return lines_of(head, rows[:NAMED]) + more


def as_typed(records: Sequence[Record]) -> str:
    """Which method auto took, and its CPU seconds over those of the best krylov run."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes(records, typed=True):
        groups[one.record.shape].append(one)
    rows = []
    for shape, runs in groups.items():
        methods: dict[str, list[Outcome]] = defaultdict(list)
        for one in runs:
            methods[one.run.method].append(one)
        for method, own in methods.items():
            wrong = sum(one.false for one in own)
            time = quantiles([one.time_any for one in own], (0.5, 0.95, 1.0))
            rows.append([shape, method, str(len(own)), ", ".join(f"{t:.2f}" for t in time), str(wrong)])
    head = ["shape", "method", "runs", "time over the best krylov run: median, 95 %, most", "false"]
    return lines_of(head, rows)


def section(records: Sequence[Record], tolerances: Sequence[float], widths: Sequence[float]) -> str:
    """What docs/benchmarks.md shows."""
    if not records:
        return "Nothing was measured yet."
    found = outcomes(records)
    notes = NOTES.format(
        tolerances=", ".join(f"{tol:g}" for tol in tolerances),
        widths=", ".join(f"{width:g}" for width in widths),
        resolved=RESOLVED,
    )
    every = SHAPES | SMALL_SHAPES
    shapes = [name for name in every if any(record.shape == name for record in records)]
    titles = "\n".join(f"- {name}: {every[name].title}." for name in shapes)
    by_tol = grouped(
        found,
        "tolerance",
        lambda one: f"{one.run.tol:g}",
        [f"{tol:g}" for tol in sorted(tolerances, reverse=True)],
    )
    return "\n\n".join(
        [
            fill(notes, 120, break_on_hyphens=False),
            measured_text(records),
            titles,
            grouped(found, "shape", lambda one: one.record.shape, shapes),
            grouped(found, "spectrum", lambda one: one.record.spectrum, list(SPECTRA)),
            by_tol,
            "As a user types it:",
            as_typed(records),
            'Runs that lose: more than two reads too many, or "converged" and not within the tolerance.',
            losing(found),
        ]
    )


def measured_text(records: Sequence[Record]) -> str:
    """What of the whole was run, on which machine and with which code."""
    by_shape: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_shape[record.shape].append(record)
    parts = []
    for name, own in by_shape.items():
        spectra, seeds = ({getattr(record, key) for record in own} for key in ("spectrum", "seed"))
        widths = sorted({int(width) for record in own for width in record.prefixes})
        of = f"{len(own)} matrices ({len(spectra)} spectra, {len(seeds)} seeds, block widths"
        parts.append(f"{name} {of} {', '.join(map(str, widths))})")
    codes = sorted({record.code for record in records})
    machines = "; ".join(sorted({record.machine for record in records}))
    mixed = " (records of more than one state of the code: run it again)" if len(codes) > 1 else ""
    return f"Measured: {', '.join(parts)}. Code {', '.join(codes)}{mixed}. Machine: {machines}."
