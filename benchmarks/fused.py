"""One fused read, ``Y = A X`` and ``Y^H A``, beside its two products as single BLAS calls on the whole matrix.

    PYTHONPATH=scripts python benchmarks/fused.py [--rounds 9] [--small] [--output benchmarks/results/fused.md]

Both sides have the same threads: the products as many of BLAS, the read as many tasks of one BLAS thread each. `first`
is the read that also finds norms and looks for NaN. The second table is a factorization as a user types it: what is not
spent in reads and in making U is its dense core (bases, projections, small eigenproblems). Rounds are interleaved; the
median of the ratios counts, and the least and largest stand beside it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from svdbench.timing import machine
from threadpoolctl import threadpool_limits

from svdflow import truncated_svd
from svdflow.compute import Device
from svdflow.compute.cores import default_threads
from svdflow.compute.engine import Engine
from svdflow.matrix.opening import as_source
from svdflow.svd import assembly
from svdflow.svd.plan import Target, make_plan
from svdflow.svd.read.converted_panels import Panels
from svdflow.svd.sparse_reader import reader_for
from svdflow.svd.subspace import Reader

SHAPE, SMALL, COLUMNS = (20_000, 4_000), (3_000, 500), (16, 64, 128)
RANK = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--small", action="store_true", help="a tiny matrix, to try the command")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    shape = SMALL if asked.small else SHAPE
    lines = [
        "| type | columns | two products, s | a read, s | read : products | first read : products |",
        "|---|---|---|---|---|---|",
    ]
    core = ["| type | reads | whole, s | in reads and U, s | dense core |", "|---|---|---|---|---|"]
    for dtype in (np.float32, np.float64):
        A = falling(shape, dtype)
        for width in COLUMNS:
            lines.append(fused(A, width, asked.rounds, asked.threads))
            print(lines[-1], flush=True)
        core.append(shares(A, asked.rounds, asked.threads))
        print(core[-1], flush=True)
    if asked.output:
        here = machine()
        head = f"# A fused read beside its products\n\nBy benchmarks/fused.py, {shape[0]} x {shape[1]}, "
        head += (
            f"{asked.threads} threads, {asked.rounds} rounds; {here['processor']}, {here['cores']} cores, "
        )
        head += f"{', '.join(here['blas'])}.\n\n"
        text = head + "\n".join(
            [*lines, "", f"truncated_svd(A, {RANK}), s_i near 1 / sqrt i:", "", *core, ""]
        )
        asked.output.write_text(text, encoding="utf-8")


def falling(shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Noise with columns that fall like 1 / sqrt i, and so, roughly, its singular values."""
    A = np.random.default_rng(0).standard_normal(shape, dtype=dtype)
    A *= (1 / np.sqrt(np.arange(1, shape[1] + 1))).astype(dtype)
    return A


def fused(A: np.ndarray, width: int, rounds: int, threads: int) -> str:
    """A row of the first table; both sides must agree before any time counts."""
    X = np.linalg.qr(np.random.default_rng(1).standard_normal((A.shape[1], width)))[0]
    narrow = X.astype(A.dtype)
    plan = make_plan(
        as_source(A),
        Target(rank=width),
        method="krylov",
        tol=1e-2,
        block_size=width,
        max_reads=4,
        center=False,
    )
    reader = reader_for(plan, Panels.of(plan, Device()), Engine(threads))

    def products() -> np.ndarray:
        return A.T @ (A @ narrow)

    Z, truth = reader.gram_times(X), products()
    if not np.linalg.norm(Z - truth) <= 1e-5 * np.linalg.norm(truth):
        raise SystemExit("the read and its products do not agree")
    times: dict[str, list[float]] = {"products": [], "read": [], "first": []}
    for _ in range(rounds):
        with threadpool_limits(threads, user_api="blas"):
            times["products"].append(seconds(products))
        time.sleep(PAUSE)
        times["read"].append(seconds(lambda: reader.gram_times(X)))
        reader.reads = 0
        times["first"].append(seconds(lambda: reader.gram_times(X)))
    plain = statistics.median(times["products"])
    cells = [
        spread([t / p for t, p in zip(times[name], times["products"], strict=True)])
        for name in ("read", "first")
    ]
    read = statistics.median(times["read"])
    return f"| {A.dtype} | {width} | {plain:.3f} | {read:.3f} | {' | '.join(cells)} |"


def shares(A: np.ndarray, rounds: int, threads: int) -> str:
    """A row of the second table."""
    found = []
    for seed in range(rounds):
        with timed() as spent:
            whole = -time.perf_counter()
            result = truncated_svd(A, RANK, method="krylov", engine=threads, seed=seed)
            whole += time.perf_counter()
        found.append((result.info.reads, whole, spent[0], 1 - spent[0] / whole))
    reads, whole, inside, core = zip(*found, strict=True)
    median = statistics.median
    cells = f"{median(whole):.3f} | {median(inside):.3f} | {100 * median(core):.1f} %"
    return f"| {A.dtype} | {median(reads):g} | {cells} |"


@contextmanager
def timed() -> Iterator[list[float]]:
    """Seconds spent in reads, in looking at a sample, and in making U."""
    spent, places = (
        [0.0],
        [(Reader, "_sums"), (Reader, "learn"), (assembly, "kept_factors"), (assembly, "last_read")],
    )
    genuine = [getattr(home, name) for home, name in places]

    def clocked(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **more: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*given, **more)
            finally:
                spent[0] += time.perf_counter() - start

        return run

    for (home, name), call in zip(places, genuine, strict=True):
        setattr(home, name, clocked(call))
    try:
        yield spent
    finally:
        for (home, name), call in zip(places, genuine, strict=True):
            setattr(home, name, call)


# Seconds for which OpenBLAS's threads may go on spinning after a product, and would compete with what is timed next.
PAUSE = 0.2


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
