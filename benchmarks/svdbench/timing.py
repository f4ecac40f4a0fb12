"""Both sides in one run: interleaved rounds, settings matched in accuracy, and what the machine can do at best."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from svdbench.accuracy import Accuracy

CALIBRATION_SEEDS = (1000,)  # settings are chosen on other seeds than those that are published
PLATEAU = 2
READ_BYTES = 16 * 2**20
# Answers are wrong and not inaccurate only, where vectors are so far from orthonormal, or values lie so far (of s_1)
# from what their vectors hold, or so far (of themselves) from the truth (chosen).
UNSOUND, LOST = 1e-2, 0.9
FAILURES = (
    ArithmeticError,
    RuntimeError,
    ValueError,
    np.linalg.LinAlgError,
)  # of a side, which end no benchmark
Row = dict[str, Any]
Judge = Callable[..., Accuracy]  # of what a side's `unpack` gave; takes ``spectral=False`` to be quicker


@dataclass(frozen=True)
class Side:
    """One way to factorize: `run(seed)` is what the clock sees.

    Attributes
    ----------
    unpack : function
        Makes of what `run` gave what the judge takes, outside the clock.
    reads : function, optional
        Passes over A of a run with that seed, found outside the clock; of a peer that does not say.
    notes : function
        Further figures of a run, for the record; ``seconds`` among them (a child's own clock) stands over ours.
    """

    name: str
    settings: dict[str, Any]
    run: Callable[[int], Any]
    unpack: Callable[[Any], Any] = lambda result: result
    notes: Callable[[Any], Row] = lambda _: {}
    reads: Callable[[int], int] | None = None


@dataclass
class Comparison:
    """A peer's setting, and ours that is nowhere less accurate; one measurement of each a seed."""

    label: str
    ours: list[Row] = field(default_factory=list)
    theirs: list[Row] = field(default_factory=list)
    comparable: bool = True

    def ratios(self) -> list[float]:
        """How many times faster we are, round by round."""
        return [t["seconds"] / o["seconds"] for o, t in zip(self.ours, self.theirs, strict=True)]

    def row(
        self,
        least: float | None,
        aim: float | None,
        judged: Callable[..., str] | None = None,
    ) -> Row:
        """All of it as JSON takes it, judged by `verdict` or by a function like it."""
        ratios = self.ratios()
        return {
            "label": self.label,
            "least": least,
            "aim": aim,
            "comparable": self.comparable,
            "verdict": (judged or verdict)(ratios, self.comparable, least, aim),
            "ratios": ratios,
            "ours": self.ours,
            "theirs": self.theirs,
        }


def verdict(ratios: Sequence[float], comparable: bool, least: float | None, aim: float | None) -> str:
    """What the median of the ratios is worth. Where we are less accurate no ratio counts."""
    if not comparable:
        return "not comparable"
    if least is None or aim is None:
        return "no target"
    middle = median(ratios)
    return "aim met" if middle >= aim else "met" if middle >= least else "missed"


def verdict_of_all(ratios: Sequence[float], comparable: bool, least: float | None, aim: float | None) -> str:
    """What default against default is worth: no seed below `least`, and the median at least `aim`."""
    if not comparable:
        return "less accurate"
    if least is None or aim is None:
        return "no target"
    return "met" if min(ratios) >= least and median(ratios) >= aim else "missed"


def fault(row: Row) -> str | None:
    """What is wrong with an answer, beyond being inaccurate; None where nothing is.

    SciPy 1.17.1's propack invents values where all non-zero singular values are equal, and its lobpcg loses small ones
    of a small matrix: no time that such an answer took is worth a comparison.
    """
    figures = [row[key] for key in ("pve", "frobenius", "orthogonality", "claimed", "values")]
    if not np.isfinite(figures).all():
        return "not finite"
    if row["orthogonality"] > UNSOUND:
        return f"U is not orthonormal, by {row['orthogonality']:.1e}"
    if row["claimed"] > UNSOUND:
        return f"values that its vectors do not have, by {row['claimed']:.1e} s_1"
    if row["values"] > LOST:
        return f"a value off by {row['values']:.0%}"
    return None


def no_worse(ours: Row, theirs: Row, floor: float) -> bool:
    """Whether our PVE is at most the peer's, or both lie below what stored factors resolve."""
    return ours["pve"] <= max(theirs["pve"], floor)


def measured(side: Side, seed: int, judge: Judge) -> Row:
    """One run: settings, seconds, accuracy, notes."""
    start = time.perf_counter()
    result = side.run(seed)
    seconds = time.perf_counter() - start
    row = {"side": side.name, "settings": side.settings, "seed": seed, "seconds": seconds}
    return row | side.notes(result) | judge(side.unpack(result)).row()


def calibrated(sides: Sequence[Side], judge: Judge, say: Callable[[str], None]) -> list[tuple[Side, Row]]:
    """Each setting on the calibration seeds: its least time and its worst PVE.

    Settings that fail are left out, and those that gave the very figures of one before them: they did the same.
    """
    found: list[tuple[Side, Row]] = []
    for side in sides:
        try:
            rows = [measured(side, seed, partial(judge, spectral=False)) for seed in CALIBRATION_SEEDS]
        except FAILURES as error:
            say(f"  {side.name} {side.settings}: {type(error).__name__}: {error}")
            continue
        worst = max(rows, key=lambda row: row["pve"])
        wrong = fault(worst)
        if wrong:
            say(f"  {side.name} {side.settings}: wrong, {wrong}")
            continue
        least = min(row["seconds"] for row in rows)
        say(f"  {side.name} {side.settings}: {least:.3f} s, PVE {worst['pve']:.1e}")
        if all(worst["pve"] != row["pve"] for _, row in found):
            found.append((side, worst | {"seconds": least}))
    return found


def fastest(tried: Sequence[tuple[Side, Row]], target: float) -> tuple[Side, Row, bool]:
    """The setting with the least time among those whose PVE is at most `target`, and whether there is one.

    Where there is none, the fastest of those within twice the least PVE of all: its rounding lets it go no further.
    """
    enough = [entry for entry in tried if entry[1]["pve"] <= target]
    reached = bool(enough)
    if not reached:
        limit = PLATEAU * min(row["pve"] for _, row in tried)
        enough = [entry for entry in tried if entry[1]["pve"] <= limit]
    return (*min(enough, key=lambda entry: entry[1]["seconds"]), reached)


def cheapest_first(tried: Sequence[tuple[Side, Row]], target: float) -> list[Side]:
    """Settings to match `target` with: those that reached it, by time; after them the others, the best first."""
    enough = sorted((e for e in tried if e[1]["pve"] <= target), key=lambda e: e[1]["seconds"])
    rest = sorted((e for e in tried if e[1]["pve"] > target), key=lambda e: e[1]["pve"])
    return [side for side, _ in enough] or [side for side, _ in rest[:1]]


def matched(
    label: str, ours: Sequence[Side], peer: Side, seeds: Sequence[int], judge: Judge, floor: float
) -> Comparison:
    """Time the peer beside the first of our settings that is less accurate at no seed.

    Rounds are interleaved and their order alternates, so that a slow moment of the machine meets both. If the last of
    our settings is less accurate at some seed too, the comparison is finished with it and marked.
    """
    for last, our in ((our is ours[-1], our) for our in ours):
        found = Comparison(label)
        for place, seed in enumerate(seeds):
            pair = [our, peer] if place % 2 == 0 else [peer, our]
            look = partial(judge, spectral=place == 0)  # five passes over A, so in the first round alone
            rows = {side is our: measured(side, seed, look) for side in pair}
            found.ours.append(rows[True])
            found.theirs.append(rows[False])
            found.comparable &= no_worse(rows[True], rows[False], floor)
            if not (found.comparable or last):
                break
        else:
            return found
    raise ValueError(f"{label}: no setting of ours to compare with")


def side_by_side(
    label: str, our: Side, peer: Side, seeds: Sequence[int], judge: Judge, floor: float
) -> tuple[Comparison, str | None]:
    """Both as they are, seed by seed in alternating order; and what is wrong with the peer's answer.

    That is looked at in a run of each before the clock counts. A peer that is wrong is not timed.
    """
    found = Comparison(label)
    for side in (our, peer):
        try:
            wrong = fault(measured(side, CALIBRATION_SEEDS[0], partial(judge, spectral=False)))
        except FAILURES as error:
            wrong = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        if wrong:
            return found, f"{side.name}: {wrong}"
    for place, seed in enumerate(seeds):
        pair = [our, peer] if place % 2 == 0 else [peer, our]
        look = partial(judge, spectral=place == 0)
        rows = {side is our: measured(side, seed, look) for side in pair}
        if place == 0 and peer.reads is not None:
            rows[False]["reads"] = peer.reads(seed)
        found.ours.append(rows[True])
        found.theirs.append(rows[False])
        found.comparable &= no_worse(rows[True], rows[False], floor)
        wrong = fault(rows[False])
        if wrong:
            return found, f"{peer.name}, seed {seed}: {wrong}"
    return found, None


# The machine


def machine() -> Row:
    """Processor, memory, libraries and BLAS as they are now."""
    import scipy
    import sklearn

    import dask
    import svdflow

    lines = _lines("/proc/cpuinfo")
    first = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))
    }
    flags = set(first.get("flags", first.get("Features", "")).split())
    blas = {
        f"{lib['internal_api']} {lib['version']} {lib.get('architecture', '')}" for lib in threadpool_info()
    }
    return {
        "processor": first.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "flags": sorted(f for f in flags if f.startswith(("avx", "fma", "asimd", "sve", "amx"))),
        "blas": sorted(blas),
        "blas_environment": {
            k: v for k, v in os.environ.items() if k.startswith(("OPENBLAS_", "OMP_", "MKL_"))
        },
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in (np, scipy, sklearn, dask, svdflow)},
    }


def gemm_rate(dtype: Any = np.float32, side: int = 3072) -> float:
    """Operations a second of a square product on all BLAS threads, the best of five."""
    A = np.random.default_rng(0).standard_normal((side, side)).astype(dtype)
    return 2 * side**3 / min(seconds(lambda: A @ A) for _ in range(5))


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def read_plainly(path: Path) -> int:
    """Read a file from its first byte to its last into one buffer; returns the bytes."""
    buffer, total = bytearray(READ_BYTES), 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def drop_cache(path: Path) -> None:
    """Take a file out of the page cache, after its dirty pages are written."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def settings_grid(**choices: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """All combinations of keyword arguments."""
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))
