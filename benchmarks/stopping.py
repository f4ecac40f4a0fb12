"""What the constants that end a search are worth: reads, and errors above the tolerance, with each one changed.

    PYTHONPATH=tests:scripts python benchmarks/stopping.py [--seeds 10] [--output FILE] [NAME ...]

A search should end as early as its tolerance allows, and never earlier. For each value of a constant every spectrum of
tests/unit/svd_promises.py is factorized to 1e-1, 1e-2 and 1e-4 by the seeds, and the true error of results that call
themselves converged is compared with the tolerance. The first value is the one in the code.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from svdflow import ConvergenceWarning, truncated_svd
from unit.svd_promises import SPECTRA, mixed, pve, rotated

RANK, TOLERANCES = 20, (1e-1, 1e-2, 1e-4)
# Square: nothing to learn from rows. Tall: the first block of krylov is learnt from a sample. Sparse: narrow blocks.
MATRICES: dict[str, Callable[[np.ndarray], Any]] = {
    "square": lambda s: mixed(s, (600, len(s))),
    "tall": lambda s: mixed(s, (9000, len(s)), dtype=np.float32),
    "sparse": lambda s: rotated(s, 900, len(s)),
}
SIDE = 400


@dataclass(frozen=True)
class Case:
    """A constant in ``module`` of svdflow.svd, the values that are tried, and what they are tried on."""

    module: str
    name: str
    values: tuple[float, ...]
    kind: str = "square"
    method: str = "krylov"


CASES = (
    Case("methods.krylov", "SLOW", (0.5, 0.25, 0.75)),
    Case("methods.krylov", "SLOWEST", (0.98, 0.9, 0.995)),
    Case("methods.krylov", "BULK", (1.5, 1.0, 0.5, 3.0)),
    Case("methods.krylov", "SUBLINEAR", (1 / 5, 1 / 20, 1 / 2)),
    Case("methods.krylov", "NOISE", (16, 1, 256)),
    Case("methods.krylov", "CLEAR", (100, 1, 1e4)),
    Case("methods.krylov", "NOVEL", (0.05, 1e-3, 0.5)),
    Case("methods.krylov", "FIRST_GAIN", (0.25, 0.05, 1.0), "tall"),
    Case("methods.krylov", "LEAST_RANDOM", (4, 0, 16), "tall"),
    Case("subspace", "AGREEMENT", (0.5, 0.0, 0.95), "tall"),
    Case("methods.krylov_blocks", "SAMPLE_ROWS", (16, 4, 32), "tall"),
    Case("methods.krylov_blocks", "SAMPLE_BANDS", (16, 4, 64), "tall"),
    Case("methods.krylov", "NARROW", (8.0, 1.0, 32.0), "sparse"),
    Case("widths", "SPARSE_WIDTH", (32, 16, 64), "sparse"),
    Case("widths", "OVERSAMPLING", (10, 2, 40)),
    Case("methods.shift", "SLACK", (2.0, 0.5, 8.0), method="shift"),
    Case("methods.shift", "HALF_STEP_SLACK", (8.0, 1.0, 64.0), method="shift"),
    Case("methods.shift", "SLOWEST", (0.95, 0.8, 0.99), method="shift"),
    Case("methods.shift", "CLEAR", (1e4, 1.0, 1e8), method="shift"),
    Case("methods.shift", "SHIFT_ROUNDS", (20, 1, 5), method="shift"),
    Case("methods.lanczos", "LANCZOS_BLOCK", (8, 4, 16), method="lanczos"),
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
    lines = [
        "| constant | value | matrices | reads, mean | converged | error above tol | worst error / tol |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for case in CASES:
        if not asked.names or case.name in asked.names:
            for value in case.values:
                lines.append(row(case, value, asked.seeds))
                print(lines[-1], flush=True)
    if asked.output:
        head = "# Constants of the stopping rules\n\n"
        head += f"{RANK} triplets, {asked.seeds} seeds a spectrum and tolerance.\n\n"
        asked.output.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


def row(case: Case, value: float, seeds: int) -> str:
    """Figures of one value of one constant."""
    with changed(case, value):
        found = list(runs(case, seeds))
    reads, excess = (np.array(figures) for figures in zip(*found, strict=True))
    ended = excess[np.isfinite(excess)]
    name = f"{case.module.rpartition('.')[2]}.{case.name}"
    share = f"{len(ended)} of {len(excess)} | {np.count_nonzero(ended > 1)} | {ended.max(initial=0.0):.2g}"
    return f"| `{name}` | {value:g} | {case.kind} | {reads.mean():.2f} | {share} |"


def runs(case: Case, seeds: int) -> Iterator[tuple[int, float]]:
    """Reads, and the true error over the tolerance; infinite where it did not say converged."""
    for name, tol in ((name, tol) for name in SPECTRA for tol in TOLERANCES):
        A, s = matrix(case.kind, name)
        for seed in range(seeds):
            result = truncated_svd(A, RANK, method=case.method, tol=tol, seed=seed, engine=1)
            info = result.info
            excess = pve(A, result, s) / tol if info.reason == "converged" else np.inf
            yield info.reads, excess


@cache
def matrix(kind: str, name: str) -> tuple[Any, np.ndarray]:
    s = SPECTRA[name](SIDE)
    return MATRICES[kind](s), s


@contextmanager
def changed(case: Case, value: float) -> Iterator[None]:
    """The constant at another value, also where other modules of the search have imported it."""
    homes = [import_module(f"svdflow.svd.{case.module}")]
    users = (
        "algorithm",
        "costs",
        "methods.krylov",
        "methods.krylov_blocks",
        "methods.lanczos",
        "methods.shift",
    )
    homes += [import_module(f"svdflow.svd.{name}") for name in users]
    before = getattr(homes[0], case.name)
    kept = [home for home in homes if getattr(home, case.name, None) is before]
    wanted = type(before)(value)
    for home in kept:
        setattr(home, case.name, wanted)
    try:
        yield
    finally:
        for home in kept:
            setattr(home, case.name, before)


if __name__ == "__main__":
    main()
