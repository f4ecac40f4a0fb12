"""Matrices of known spectrum on which regret is measured: shapes, spectra that depend on the rank, dense and sparse."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from svdbench.accuracy import rounding_floor, truth_shift
from svdbench.matrices import write_panels
from svdflow.matrix.generators.prescribed import prescribed

# Layers of random plane rotations that mix the rows and the columns of a sparse diagonal matrix: each doubles the
# entries, so that a row of 10,000 x 2,000 has about 100 (chosen; fewer leave singular vectors of few entries).
ROW_LAYERS, COLUMN_LAYERS = 5, 4


@dataclass(frozen=True)
class Shape:
    """Size, rank and kind of a matrix."""

    name: str
    rows: int
    columns: int
    rank: int
    dtype: str
    sparse: bool = False

    @property
    def title(self) -> str:
        kind = "CSR " if self.sparse else ""
        return f"{kind}{self.rows:,} x {self.columns:,} {self.dtype}, k = {self.rank}"


def _named(*shapes: Shape) -> dict[str, Shape]:
    return {shape.name: shape for shape in shapes}


SHAPES = _named(
    Shape("narrow", 2000, 500, 5, "float64"),
    Shape("complex", 4000, 1000, 20, "complex64"),
    Shape("sparse", 10_000, 2000, 20, "float32", sparse=True),
    Shape("many", 6000, 2000, 200, "float64"),
    Shape("large", 20_000, 4000, 50, "float32"),
)
SMALL_SHAPES = _named(
    Shape("small", 1200, 300, 5, "float64"),
    Shape("small-complex", 900, 400, 5, "complex64"),
    Shape("small-sparse", 900, 240, 5, "float32", sparse=True),
)

# From i = 1 ... n, the rank k and n to singular values, descending.
Law = Callable[[np.ndarray, int, int], np.ndarray]
SPECTRA: dict[str, Law] = {
    "1/i": lambda i, k, n: 1 / i,
    "1/sqrt i": lambda i, k, n: i**-0.5,
    "i^-1/4": lambda i, k, n: i**-0.25,
    "i^-2": lambda i, k, n: i**-2,
    "1/log(i + 1)": lambda i, k, n: 1 / np.log(i + 1),
    "exp(-2 i/k)": lambda i, k, n: np.exp(-2 * np.minimum(i, 8 * k) / k),
    "exp(-i/10 k)": lambda i, k, n: np.exp(-np.minimum(i, 80 * k) / (10 * k)),
    "gap 10 : 1": lambda i, k, n: np.where(i <= k, 2 - i / k, 0.1),
    "gap 1.5 : 1": lambda i, k, n: np.where(i <= k, 2 - i / k, (2 / 3) * (k / i) ** 0.25),
    "clusters of 5": lambda i, k, n: np.ceil(i / 5) ** -0.5 * (1 - 1e-3 * ((i - 1) % 5) / 5),
    "each 4 times": lambda i, k, n: np.ceil(i / 4) ** -0.5,
    # k / 2 signals, then the upper edge of white noise, where distances grow as (j / n)^(2/3).
    "signal in noise": lambda i, k, n: np.where(
        i <= k // 2, 3 - i / k, 1 - 0.7 * (_from(i, k // 2) / n) ** (2 / 3)
    ),
    "flat": lambda i, k, n: 1 - i / (2 * n),
}


def _from(i: np.ndarray, start: int) -> np.ndarray:
    return np.maximum(i - start, 1)


def spectrum(name: str, shape: Shape) -> np.ndarray:
    """All singular values, descending, float64."""
    n = min(shape.rows, shape.columns)
    return SPECTRA[name](np.arange(1, n + 1, dtype=np.float64), shape.rank, n)


def matrix(name: str, shape: Shape, seed: int = 0) -> tuple[Any, np.ndarray]:
    """The matrix, an ndarray or csr_array of the shape's dtype, and its singular values."""
    s = spectrum(name, shape)
    if shape.sparse:
        return _sparse(s, shape, seed), s
    params = {"rows": shape.rows, "columns": shape.columns, "dtype": shape.dtype}
    A = np.empty((shape.rows, shape.columns), shape.dtype)
    write_panels(prescribed(s, params, seed), A)
    return A, s


def _sparse(s: np.ndarray, shape: Shape, seed: int) -> sparse.csr_array:
    """Rotations of pairs of rows and of columns: orthogonal, so the spectrum is that of the diagonal."""
    rng = np.random.default_rng(seed)
    diagonal = sparse.dia_array((s[None], [0]), shape=(shape.rows, shape.columns)).tocsr()
    # Which row belongs to which column is drawn too: the values lie spread over all rows.
    place = sparse.eye_array(shape.rows, format="csr")[rng.permutation(shape.rows)]
    A = place @ diagonal
    for _ in range(ROW_LAYERS):
        A = _rotations(shape.rows, rng) @ A
    for _ in range(COLUMN_LAYERS):
        A = A @ _rotations(shape.columns, rng)
    return sparse.csr_array(A.astype(shape.dtype))


def _rotations(size: int, rng: np.random.Generator) -> sparse.csr_array:
    """Random plane rotations of disjoint random pairs."""
    one, other = rng.permutation(size)[: size // 2 * 2].reshape(2, -1)
    angle = rng.uniform(0, 2 * np.pi, len(one))
    c, d = np.cos(angle), np.sin(angle)
    rest = np.setdiff1d(np.arange(size), np.concatenate([one, other]))
    rows = np.concatenate([one, one, other, other, rest])
    columns = np.concatenate([one, other, one, other, rest])
    values = np.concatenate([c, d, -d, c, np.ones(len(rest))])
    return sparse.csr_array((values, (rows, columns)), shape=(size, size))


def resolution(A: Any, true: np.ndarray, k: int) -> float:
    """The PVE below which neither rank-k factors in the matrix's type nor the truth of its entries are known."""
    return rounding_floor(true, k, A.dtype) + float(2 * true[0] * rounding_shift(A, true) / true[k] ** 2)


def rounding_shift(A: Any, true: np.ndarray) -> float:
    """`truth_shift`; of a sparse matrix, whose entries are spread unevenly, by its largest row and column norm."""
    if not sparse.issparse(A):
        return truth_shift(float(np.linalg.norm(true)), A.shape, A.dtype)
    squares = abs(A).astype(np.float64).power(2)
    largest = [np.sqrt(squares.sum(axis=axis).max()) for axis in (0, 1)]
    return float(np.finfo(A.dtype).eps / 2 / np.sqrt(3) * sum(largest))
