"""A case, what it compares, and how: side by side as users type them, at equal accuracy, and each at its best."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.extmath import randomized_svd

from svdbench.accuracy import Accuracy, Factors, rounding_floor, truth_shift
from svdbench.child import INFO
from svdbench.timing import (
    Comparison,
    Judge,
    Row,
    Side,
    calibrated,
    cheapest_first,
    fastest,
    gemm_rate,
    matched,
    settings_grid,
    side_by_side,
    verdict_of_all,
)
from svdflow import truncated_svd

RANK, SMALL_RANK = 50, 10
OURS = [{"tol": tol} for tol in (3, 1, 0.3, 0.1, 0.03, 3e-3, 1e-3, 1e-4, 1e-5, 1e-6)]
OURS += [{"tol": 2e-4, "max_reads": reads} for reads in range(2, 9)]
SKLEARN = list(settings_grid(n_iter=(0, 1, 2, 3, 4, 5, 6, 8, 10), n_oversamples=(10, 25, 50)))
FEW_SEEDS = 5  # of cases whose runs are long


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    folder: Path
    seeds: Sequence[int] = tuple(range(5))
    small: bool = False
    gigabytes: float = 8.0
    memory_limit: str = "1GiB"
    say: Callable[[str], None] = print

    @property
    def rank(self) -> int:
        return SMALL_RANK if self.small else RANK

    def sweep(self, choices: list[Row]) -> list[Row]:
        """A peer's settings to try: all of them, or a few."""
        return choices[::5] if self.small else choices

    @property
    def gemm_flops(self) -> float:
        return gemm_rate(side=512 if self.small else 3072)

    def shape(self, full: tuple[int, int], small: tuple[int, int]) -> tuple[int, int]:
        return small if self.small else full


@dataclass
class Result:
    """What a case found.

    Comparisons are rows, settings that were tried sweeps, and `wrong` are peers whose answer was not worth a time.
    """

    facts: Row
    rows: list[Row] = field(default_factory=list)
    sweeps: list[Row] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """Ours and a peer's as they are typed; `least` of the worst seed's ratio and `aim` of the median, where judged."""

    label: str
    our: Side
    peer: Side
    least: float | None = None
    aim: float | None = None


@dataclass(frozen=True)
class Equal:
    """PVEs that both have to reach, each by the fastest of its settings, and what is asked of the ratio there."""

    our: Sequence[Side]
    peers: Sequence[Side]
    least: dict[float, float]


@dataclass(frozen=True)
class Problem:
    """A matrix, its judge, and all sides; `finish` adds to a result what a machine could do at best.

    `own` and each of `peers` begin with the side as it comes.
    """

    facts: Row
    judge: Judge
    typed: Sequence[Pair]
    equal: Equal | None = None
    own: Sequence[Side] = ()
    peers: Sequence[Sequence[Side]] = ()
    finish: Callable[[Result], Result] = lambda result: result
    best: Callable[[Result], None] | None = None  # in the place of `duel`


@dataclass(frozen=True)
class Case:
    """A named measurement: ``prepare(options)`` gives its `Problem`, ready within a with statement.

    `least` and `aim` are of the comparisons at best; those of the defaults are of the pairs.
    """

    name: str
    title: str
    least: float
    aim: float
    prepare: Callable[["Options"], AbstractContextManager[Problem]]
    seeds: int | None = None  # at most so many

    def defaults(self, options: Options) -> Result:
        """As users type them, on every seed; then both at a PVE that is named."""
        with self.prepare(options) as problem:
            found, floor = Result(dict(problem.facts)), problem.facts["floor"]
            seeds = options.seeds[: self.seeds]
            for pair in problem.typed:
                comparison, wrong = side_by_side(pair.label, pair.our, pair.peer, seeds, problem.judge, floor)
                if wrong:
                    found.wrong.append(f"{pair.label}: {wrong}")
                    options.say(f"  {found.wrong[-1]}")
                else:
                    finish(options, found, comparison, pair.least, pair.aim, verdict_of_all)
            if problem.equal is not None:
                at_equal_error(options, found, problem.judge, problem.equal, seeds)
            return problem.finish(found)

    def best(self, options: Options) -> Result:
        """Each at its best."""
        with self.prepare(options) as problem:
            found = Result(dict(problem.facts))
            if problem.best is not None:
                problem.best(found)
            else:
                duel(options, found, problem.judge, problem.own, problem.peers, self.least, self.aim)
            return problem.finish(found)


def at_equal_error(options: Options, found: Result, judge: Judge, equal: Equal, seeds: Sequence[int]) -> None:
    """The peer's fastest setting that reaches each error beside ours that is less accurate at no seed."""
    theirs, tried = calibrated(equal.peers, judge, options.say), calibrated(equal.our, judge, options.say)
    floor = found.facts["floor"]
    for pve, least in equal.least.items():
        enough = max(pve, floor)
        side, row, reached = fastest(theirs, enough)
        label = f"at PVE {pve:g}" if pve >= floor else f"at PVE {floor:.1g}, which is what float32 resolves"
        if not reached:
            label = f"its most accurate, for PVE {pve:g}"
        # The accuracy that both must have is the one named, not what a peer reached beyond it.
        limit = enough if reached else max(floor, row["pve"])
        finish(
            options,
            found,
            matched(label, cheapest_first(tried, limit), side, seeds, judge, limit),
            least,
            least,
        )
        if pve < floor:
            break


def duel(
    options: Options,
    found: Result,
    judge: Judge,
    own: Sequence[Side],
    peers: Sequence[Sequence[Side]],
    least: float,
    aim: float,
) -> None:
    """Each peer at its default, at its best for that accuracy, and at its best for the accuracy of our default.

    The best is its fastest setting that reaches the accuracy. Beside each stands ours that is no less accurate.
    """
    floor = found.facts["floor"]
    tried = calibrated(own, judge, options.say)
    target = next(row["pve"] for side, row in tried if not side.settings)
    found.sweeps += [row for _, row in tried]
    for sides in peers:
        theirs = calibrated(sides, judge, options.say)
        if not theirs:
            continue
        found.sweeps += [row for _, row in theirs]
        for label, (side, row) in contests(theirs, target, floor):
            candidates = cheapest_first(tried, max(row["pve"], floor))
            comparison = matched(label, candidates, side, options.seeds, judge, floor)
            finish(options, found, comparison, least, aim)


def contests(
    theirs: Sequence[tuple[Side, Row]], target: float, floor: float
) -> Iterator[tuple[str, tuple[Side, Row]]]:
    """The settings of a peer that are compared, each once, and what for. Its default is the one with no settings."""
    default = next((entry for entry in theirs if not entry[0].settings), None)
    if default is not None:
        yield "default", default
        side, row, _ = fastest(theirs, max(default[1]["pve"], floor))
        if side is not default[0]:
            yield "its best at that accuracy", (side, row)
    side, row, reached = fastest(theirs, max(target, floor))
    if len(theirs) == 1 and default is not None:
        return
    label = "its best at our default's accuracy" if reached else "its most accurate; our default is more so"
    yield label, (side, row)


def finish(
    options: Options,
    found: Result,
    comparison: Comparison,
    least: float | None,
    aim: float | None,
    judged: Callable[..., str] | None = None,
) -> None:
    row = comparison.row(least, aim, judged)
    found.rows.append(row)
    theirs = row["theirs"][0]
    options.say(
        f"  {theirs['side']} {theirs['settings']}, {row['label']}: {np.median(row['ratios']):.2f} x, "
        f"{row['verdict']}; ours {row['ours'][0]['settings']}"
    )


def worst_of(each: Sequence[Accuracy]) -> Accuracy:
    """The largest of each figure."""
    rows = [one.row() for one in each]
    return Accuracy(**{name: max((row[name] for row in rows), key=lambda v: v or 0) for name in rows[0]})


# Sides


def factors_of(result: Any) -> Factors:
    return Factors(*result)


def described(result: Any) -> Row:
    """What our side says of a run."""
    info = result.info
    return {key: getattr(info, key) for key in INFO}


def ours(A: Any, rank: int, settings: Row) -> Side:
    return Side(
        "svdflow",
        settings,
        lambda seed: truncated_svd(A, rank, seed=seed, **settings),
        factors_of,
        described,
    )


def sklearn_side(A: Any, rank: int, settings: Row) -> Side:
    # Its n_iter="auto" is 7 where k is below a tenth of the smaller side, else 4; Q and Q^T A take a product each.
    steps = settings.get("n_iter", 7 if rank < 0.1 * min(A.shape) else 4)
    return Side(
        "scikit-learn randomized_svd",
        settings,
        lambda seed: randomized_svd(A, rank, random_state=seed, **settings),
        factors_of,
        lambda _: {"reads": 2 * steps + 2},
    )


# Facts


def dense_facts(spectrum: str, true: np.ndarray, shape: tuple[int, int], k: int) -> Row:
    """Of a matrix with a prescribed spectrum: what rounding it to float32 does to the truth, as a PVE."""
    shift = truth_shift(float(np.linalg.norm(true)), shape, np.float32)
    return {
        "spectrum": spectrum,
        "shape": shape,
        "rank": k,
        "floor": rounding_floor(true, k, np.float32),
        "truth_pve": float(2 * true[0] * shift / true[k] ** 2),
    }


def with_efficiency(found: Result, shape: tuple[int, int], k: int) -> Result:
    """Adds to each of our rows the share of the GEMM speed that its products reached."""
    for row in found.rows:
        for run in row["ours"]:
            run["gemm_share"] = products(run, shape, k) / (run["seconds"] * found.facts["gemm_flops"])
    return found


def products(run: Row, shape: tuple[int, int], k: int) -> float:
    """Operations of the products with A: two of 2 m n b a read, or m n^2 for a Gram matrix, and U at the end.

    One block width stands for all reads, so where a plan changes widths this is an estimate.
    """
    (m, n), last = (max(shape), min(shape)), 4.0 * max(shape) * min(shape) * k
    if run["method"] in ("full", "gram", "tsqr"):
        return last + float(m) * n * n
    return last + 4.0 * m * n * run["block_size"] * (run["reads"] - 1)
