"""What a product with a sparse matrix costs a stored entry and column, for blocks of 1 to 64 columns.

    PYTHONPATH=scripts:benchmarks python benchmarks/sparse_products.py [--rounds 5] [--searches] [--output FILE]

Processor time, one thread, medians over interleaved rounds. Products of the whole matrix: ``A X`` by SciPy's CSR loop,
``A^H Y`` by its CSC loop over the same arrays, and by its CSR loop over a copy of the transpose, which takes as long to
make as the last column says. "fused" is a read as svdflow makes it (svd/read/sparse_work.py), its two products
together, so that it stands beside the sum of the two. With ``--searches`` a second table tells how many columns the
methods `lanczos` and `krylov` multiply, and their processor seconds beside those expected of two cores.
The constants of svd/costs.py rest on these tables.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from svdbench import matrices

from svdflow import truncated_svd
from svdflow.compute.engine import Engine, one_blas_thread
from svdflow.matrix.opening import as_source
from svdflow.svd.plan import Target, candidates
from svdflow.svd.read.sparse_work import SparseProducts

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
SHAPES: dict[str, Callable[[], Any]] = {
    "power law, 200,000 x 50,000": lambda: matrices.sparse_rows("planted", (200_000, 50_000)),
    "power law, columns by frequency": lambda: by_frequency(
        matrices.sparse_rows("planted", (200_000, 50_000))
    ),
    "uniform, 15,000 x 6,000": lambda: sp.random_array(
        (15_000, 6000), density=200_000 / 9e7, rng=np.random.default_rng(0), format="csr"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    parser.add_argument("--searches", action="store_true")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    lines = [
        "| matrix | dtype | index | columns | A X, ns | A^H Y, ns | by a copy, ns | fused, ns | copy, ns an entry |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name, make in SHAPES.items():
        base = make()
        for dtype, index in ((np.float32, np.int32), (np.float64, np.int32), (np.float32, np.int64)):
            A = with_types(base, dtype, index)
            copy, making = transposed(A)
            for width in asked.widths:
                own = [f"{1e9 * seconds / A.nnz:.2f}" for seconds in measured(A, copy, width, asked.rounds)]
                cells = [name, np.dtype(dtype).name, np.dtype(index).name, str(width), *own]
                lines.append(f"| {' | '.join(cells)} | {1e9 * making / A.nnz:.1f} |")
                print(lines[-1], flush=True)
    if asked.searches:
        lines += searches()
    if asked.output:
        head = "# Products with sparse matrices\n\nBy benchmarks/sparse_products.py; "
        head += "nanoseconds a stored entry and column.\n\n"
        asked.output.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


SEARCHED = {
    "power law, 200,000 x 50,000": ("power", (200_000, 50_000)),
    "one-hot, 3,000 x 7,560": ("one-hot", (3000, 7560)),
    "2 %, 3,000 x 2,500": ("even", (3000, 2500)),
    "thin, 15,000 x 6,000": ("thin", (15_000, 6000)),
}


def searches() -> list[str]:
    """Columns multiplied and processor seconds of both methods, one seed."""
    lines = [
        "",
        "| matrix | rank | tol | method | reads | columns | seconds | expected |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name, (kind, shape) in SEARCHED.items():
        A = matrices.sparse_rows(kind, shape)
        for rank, tol in ((1, 1e-2), (10, 1e-2), (10, 1e-4), (10, 1e-6), (50, 1e-2), (50, 1e-4), (50, 1e-6)):
            expected = candidates(as_source(A), Target(rank), tol)
            for method in ("lanczos", "krylov"):
                columns, seconds, result = counted(A, rank, tol, method)
                figures = f"{result.info.reads} | {columns} | {seconds:.3g} | {expected[method]:.3g}"
                lines.append(f"| {name} | {rank} | {tol:.0e} | {method} | {figures} |")
                print(lines[-1], flush=True)
    return lines


def counted(A: Any, rank: int, tol: float, method: str) -> tuple[int, float, Any]:
    """Columns of fused reads, processor seconds and the result."""
    columns, product = 0, SparseProducts.gram_times

    def counting(self: SparseProducts, X: np.ndarray, **more: Any) -> np.ndarray:
        nonlocal columns
        columns += X.shape[1]
        return product(self, X, **more)

    SparseProducts.gram_times = counting  # type: ignore[method-assign]
    try:
        with one_blas_thread():
            start = time.process_time()
            result = truncated_svd(A, rank, tol=tol, method=method, engine=1)
            return columns, time.process_time() - start, result
    finally:
        SparseProducts.gram_times = product  # type: ignore[method-assign]


def by_frequency(A: sp.csr_array) -> sp.csr_array:
    """The same with its columns in the order of how many entries they have."""
    order = np.argsort(-np.bincount(A.indices, minlength=A.shape[1]), kind="stable")
    return sp.csr_array(A[:, order])


def with_types(A: sp.csr_array, dtype: Any, index: Any) -> sp.csr_array:
    out = sp.csr_array(A.shape, dtype=dtype)
    out.data, out.indices, out.indptr = A.data.astype(dtype), A.indices.astype(index), A.indptr.astype(index)
    return out


def transposed(A: sp.csr_array) -> tuple[sp.csr_array, float]:
    """Its transpose in CSR, and the seconds that it took."""
    start = time.process_time()
    copy = A.tocsc()
    return copy.T, time.process_time() - start


def measured(A: sp.csr_array, copy: sp.csr_array, width: int, rounds: int) -> list[float]:
    """Seconds a column of the four products."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((A.shape[1], width)).astype(A.dtype)
    Y = rng.standard_normal((A.shape[0], width)).astype(A.dtype)
    products = SparseProducts(A, A.dtype, Engine(1))
    tasks = [lambda: A @ X, lambda: A.T @ Y, lambda: copy @ Y, lambda: products.gram_times(X)]
    times: list[list[float]] = [[] for _ in tasks]
    repeats = max(1, int(2e7 / (A.nnz * width)))
    with one_blas_thread():
        for _ in range(rounds):
            for task, own in zip(tasks, times, strict=True):
                start = time.process_time()
                for _ in range(repeats):
                    task()
                own.append((time.process_time() - start) / repeats / width)
    return [statistics.median(own) for own in times]


if __name__ == "__main__":
    main()
