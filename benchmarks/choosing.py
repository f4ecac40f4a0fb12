"""Does ``method="auto"`` choose well? Every method on a grid of problems, beside what the cost model expects.

    python benchmarks/choosing.py [--rounds 3] [--output benchmarks/results/choosing.md]

Times are medians over interleaved rounds on this machine. The regret of a choice is its time over that of the fastest
method; the constants of svdflow/svd/costs.py rest on this table.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from svdflow.matrix import as_source
from svdflow.svd import costs, truncated_svd
from svdflow.svd.plan import Target, candidates

METHODS = ("full", "gram", "krylov")
SHAPES = (
    (256, 256),
    (512, 512),
    (1024, 1024),
    (2048, 2048),
    (4000, 4000),
    (4000, 300),
    (20000, 500),
    (20000, 2000),
    (100000, 250),
    (100000, 1000),
)
RANKS = (10, 50, 100)
SLOWEST = 20.0  # seconds that a method may be expected to take and still be measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    lines = [
        "| matrix | dtype | k | "
        + " | ".join(f"{name}, s (expected)" for name in METHODS)
        + " | auto | regret |",
        "|---|---|---|" + "---|" * len(METHODS) + "---|---|",
    ]
    print("\n".join(lines), flush=True)
    regrets = []
    for shape in SHAPES:
        for dtype in (np.float32, np.float64):
            A = decaying(shape, dtype)
            for rank in RANKS:
                line, regret = row(A, rank, asked.rounds)
                regrets.append(regret)
                lines.append(line)
                print(line, flush=True)
    lines += ["", f"Regret: median {statistics.median(regrets):.2f}, largest {max(regrets):.2f}."]
    print(lines[-1])
    if asked.output:
        head = f"# The choice of the method, constants version {costs.VERSION}\n\n"
        asked.output.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


def decaying(shape: tuple[int, int], dtype: type) -> np.ndarray:
    """Rows of Gaussian numbers whose columns fall like 1 / sqrt i: close to that spectrum, at the cost of a product."""
    m, n = shape
    rng = np.random.default_rng(0)
    A = rng.standard_normal((m, n), dtype=np.float32) * np.arange(1, n + 1, dtype=np.float32) ** -0.5
    mixing = np.linalg.qr(rng.standard_normal((n, n), dtype=np.float32))[0]
    return (A @ mixing).astype(dtype, copy=False)


def row(A: np.ndarray, rank: int, rounds: int) -> tuple[str, float]:
    """A line of the table, and the regret of the choice."""
    expected = candidates(as_source(A), Target(rank=rank))
    chosen = truncated_svd(A, rank).info.method
    measured: dict[str, list[float]] = {name: [] for name in METHODS if expected.get(name, np.inf) < SLOWEST}
    for _ in range(rounds):
        for name, times in measured.items():
            start = time.perf_counter()
            truncated_svd(A, rank, method=name)
            times.append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in measured.items()}
    chosen = "gram" if chosen == "tsqr" else chosen
    regret = medians[chosen] / min(medians.values())
    cells = [f"{medians[name]:.3g} ({expected[name]:.3g})" if name in medians else "-" for name in METHODS]
    m, n = A.shape
    line = f"| {m} x {n} | {A.dtype} | {rank} | " + " | ".join(cells) + f" | {chosen} | {regret:.2f} |"
    return line, regret


if __name__ == "__main__":
    main()
