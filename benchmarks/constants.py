"""What the constants of svdflow.svd are worth: what each is beside other values of it.

    PYTHONPATH=tests:scripts python benchmarks/constants.py [--seeds 10] [--output FILE] [NAME ...]

Stopping: a search should end as early as its tolerance allows, and never earlier. Every spectrum of
tests/unit/svd_promises.py is factorized to 1e-1, 1e-2 and 1e-4 by the seeds, and the true error of results that call
themselves converged is compared with the tolerance. Speed: the median processor time of a factorization, which other
work on the machine moves little. The first value is the one in the code.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow import ConvergenceWarning, truncated_svd
from unit.svd_promises import SPECTRA, mixed, pve, rotated

RANKS, TOLERANCES, SIDE = {"sparse": 50}, (1e-1, 1e-2, 1e-4), 400  # 20 triplets elsewhere
# Square: nothing to learn from rows. Tall: the first block of krylov is learnt from a sample. Sparse: narrow blocks.
STOPPING: dict[str, Callable[[np.ndarray], Any]] = {
    "square": lambda s: mixed(s, (600, len(s))),
    "tall": lambda s: mixed(s, (9000, len(s))),
    "sparse": lambda s: rotated(s, 900, len(s)),
}
SPEED: dict[str, Callable[[], Any]] = {
    "dense": lambda: np.random.default_rng(0).standard_normal((40_000, 1000), dtype=np.float32),
    "long side": lambda: np.random.default_rng(0).standard_normal((9000, 8000), dtype=np.float32),
    "small": lambda: np.random.default_rng(0).standard_normal((3000, 200)),
    "sparse": lambda: sp.random_array(
        (60_000, 20_000), density=1e-3, rng=np.random.default_rng(0), format="csr"
    ),
}


@dataclass(frozen=True)
class Case:
    """A constant in ``module`` of svdflow.svd, the values that are tried, and what they are tried on."""

    module: str
    name: str
    values: tuple[float, ...]
    kind: str = "square"
    method: str = "krylov"
    timed: bool = False


CASES = (
    Case("ritz_errors", "GROUP", (2.0, 1.1, 4.0)),
    Case("ritz_errors", "SAFETY", (1.5, 1.0, 3.0)),
    Case("stopping", "NOISE", (16, 1, 256)),
    Case("ritz_errors", "RISE", (1.5, 1.0, 2.0)),
    Case("ritz_errors", "NEAREST", (0.1, 10.0, 1e-3)),
    Case("methods.krylov", "LEAST_RANDOM", (4, 0, 16), "tall"),
    Case("subspace", "AGREEMENT", (2.0, 1.0, 8.0), "tall"),
    Case("methods.krylov_blocks", "SAMPLE_ROWS", (16, 4, 32), "tall"),
    Case("methods.krylov_blocks", "SAMPLE_BANDS", (16, 4, 64), "tall"),
    Case("widths", "SPARSE_WIDTH", (32, 16, 64), "sparse"),
    Case("widths", "OVERSAMPLING", (10, 2, 40)),
    Case("widths", "FINAL_EXTRA", (4, 0, 12)),
    Case("methods.shift", "SLACK", (2.0, 0.5, 8.0), method="shift"),
    Case("methods.shift", "HALF_STEP_SLACK", (8.0, 1.0, 64.0), method="shift"),
    Case("methods.shift", "SLOWEST", (0.95, 0.8, 0.99), method="shift"),
    Case("methods.shift", "CLEAR", (1e4, 1.0, 1e8), method="shift"),
    Case("methods.shift", "SHIFT_ROUNDS", (20, 1, 5), method="shift"),
    Case("widths", "LANCZOS_BLOCK", (8, 4, 16), method="lanczos"),
    Case("methods.lanczos", "LOOK", (32, 8, 64), method="lanczos"),
    Case("read.converted_panels", "SLICE_BYTES", (2**23, 2**21, 2**25), "dense", timed=True),
    Case("read.moments", "SQUARE_RUN", (2**10, 2**8, 2**13), "dense", timed=True),
    Case("read.moments", "RUNS", (2**6, 2**3, 2**9), "dense", timed=True),
    Case("plan", "GROUPS", (32, 8, 128), "dense", timed=True),
    Case("plan", "GROUP_ROWS", (2500, 625, 10_000), "dense", timed=True),
    Case("plan", "GROUP_ROWS", (2500, 625, 10_000), "small", timed=True),
    Case("read.bands", "HEIGHT", (2048, 512, 8192), "long side", timed=True),
    Case("read.sparse_work", "LINE", (128, 64, 256), "sparse", timed=True),
    Case("read.sparse_work", "BAND_ENTRIES", (32, 8, 128), "sparse", timed=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="constants; all by default")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    wanted = [case for case in CASES if not asked.names or case.name in asked.names]
    stopping = [
        "| constant | value | matrices | reads, mean | converged | error above tol | worst error / tol |",
        "|---|---|---|---|---|---|---|",
    ]
    speed = ["| constant | value | matrix | CPU seconds, median |", "|---|---|---|---|"]
    for case in wanted:
        for value in case.values:
            row, rows = (timed, speed) if case.timed else (stopped, stopping)
            rows.append(row(case, value, asked.seeds))
            print(rows[-1], flush=True)
    if asked.output:
        head = "# Constants of the SVD\n\nBy benchmarks/constants.py; the first value is the one in the code.\n\n"
        ends = "## When a search ends\n\n20 triplets, 50 of sparse matrices, "
        ends += f"{asked.seeds} seeds a spectrum and tolerance.\n\n"
        fast = f"## Speed\n\n20 triplets, median of {asked.seeds} runs.\n\n"
        text = head + ends + "\n".join([*stopping, ""]) + "\n" + fast + "\n".join([*speed, ""])
        asked.output.write_text(text, encoding="utf-8")


def named(case: Case) -> str:
    return f"`{case.module.rpartition('.')[2]}.{case.name}`"


def timed(case: Case, value: float, rounds: int) -> str:
    """Median processor time with that value of a constant."""
    A, times = matrix(case.kind, ""), []
    with changed(case, value):
        for seed in range(rounds):
            start = time.process_time()
            truncated_svd(A, 20, method=case.method, seed=seed, max_reads=4)
            times.append(time.process_time() - start)
    return f"| {named(case)} | {value:g} | {case.kind} | {statistics.median(times):.3g} |"


def stopped(case: Case, value: float, seeds: int) -> str:
    """Reads and errors with that value of a constant."""
    with changed(case, value):
        found = list(runs(case, seeds))
    reads, excess = (np.array(figures) for figures in zip(*found, strict=True))
    ended = excess[np.isfinite(excess)]
    share = f"{len(ended)} of {len(excess)} | {np.count_nonzero(ended > 1)} | {ended.max(initial=0.0):.2g}"
    return f"| {named(case)} | {value:g} | {case.kind} | {reads.mean():.2f} | {share} |"


def runs(case: Case, seeds: int) -> Iterator[tuple[int, float]]:
    """Reads, and the true error over the tolerance; infinite where it did not say converged."""
    for name, tol in ((name, tol) for name in SPECTRA for tol in TOLERANCES):
        A, s = matrix(case.kind, name), SPECTRA[name](SIDE)
        for seed in range(seeds):
            result = truncated_svd(
                A, RANKS.get(case.kind, 20), method=case.method, tol=tol, seed=seed, engine=1
            )
            yield result.info.reads, pve(A, result, s) / tol if result.info.reason == "converged" else np.inf


@cache
def matrix(kind: str, spectrum: str) -> Any:
    return STOPPING[kind](SPECTRA[spectrum](SIDE)) if spectrum else SPEED[kind]()


@contextmanager
def changed(case: Case, value: float) -> Iterator[None]:
    """The constant at another value, also where other modules of the search have imported it."""
    users = (
        "algorithm",
        "costs",
        "read.last_read",
        *(f"methods.{name}" for name in ("krylov", "krylov_blocks")),
    )
    homes = [
        import_module(f"svdflow.svd.{name}")
        for name in (case.module, *users, "methods.lanczos", "methods.shift")
    ]
    before = getattr(homes[0], case.name)
    kept = [home for home in homes if getattr(home, case.name, None) is before]
    for home in kept:
        setattr(home, case.name, type(before)(value))
    try:
        yield
    finally:
        for home in kept:
            setattr(home, case.name, before)


if __name__ == "__main__":
    main()
