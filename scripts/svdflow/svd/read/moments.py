"""Sums over a block of rows: norms, column sums and deviations, at the precision that is asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.compute import Device, array_namespace

# Sums of squares outside of these are not trusted, by bytes of a real number: terms may have been lost below the
# smallest or above the largest number. The matrix is scaled by a power of two then, and read again.
SAFE_NORM = {4: (1e-20, 1e30), 8: (1e-200, 1e200)}
# Entries whose squares are summed in one go in the precision of the panel, with an error of about sqrt(1024) eps, and
# runs of them that are converted at a time (512 KB of float64). A quarter and eight times as many take as long to 7 %
# (benchmarks/results/constants.md).
SQUARE_RUN, RUNS = 2**10, 2**6
# Rows whose columns are summed in the precision of the panel, with an error of about sqrt(ROW_RUN) eps of a run, before
# runs are added in double, where a mixed sum takes ten times as long (chosen).
ROW_RUN = 64


def converted(array: Any, dtype: np.dtype, *, copy: bool = False) -> Any:
    """The array in a NumPy dtype's counterpart of its own library."""
    xp = array_namespace(array)
    return xp.astype(array, getattr(xp, dtype.name), copy=copy)


def column_sums(block: Any, wide: np.dtype) -> Any:
    """Shape (n,)."""
    if sp.issparse(block):
        # SciPy sums in the type of the entries, whatever dtype it is asked for.
        return np.asarray(block.astype(wide).sum(axis=0)).reshape(-1)
    xp = array_namespace(block)
    return xp.sum(block, axis=0, dtype=getattr(xp, wide.name))


def run_sums(block: np.ndarray, wide: np.dtype) -> np.ndarray:
    """Column sums (n,) of a dense block on the host, runs of rows in its own precision and their sums in double."""
    whole = len(block) - len(block) % ROW_RUN
    runs = np.add.reduce(block[:whole].reshape(-1, ROW_RUN, block.shape[1]), axis=1)
    return np.add.reduce(runs, axis=0, dtype=wide) + np.add.reduce(block[whole:], axis=0, dtype=wide)


def column_moments(block: Any, wide: np.dtype, device: Device | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sums of columns, and 2-norms of their distances from the mean; each shape (n,)."""
    device = device or Device()
    rows, sums = block.shape[0], column_sums(block, wide)
    mean = sums / rows
    if sp.issparse(block):
        entries = sp.coo_array(block).astype(wide)
        column, top = entries.coords[1], float(np.abs(entries.data).max(initial=0.0)) or 1.0
        stored = np.bincount(column, minlength=len(mean))
        squares = np.bincount(column, np.abs((entries.data - mean[column]) / top) ** 2, len(mean))
        return sums, np.sqrt(squares + (rows - stored) * np.abs(mean / top) ** 2) * top
    xp = array_namespace(block)
    distance = xp.abs(converted(block, wide) - mean)
    top = xp.max(distance, axis=0)  # divided first: squares of extreme entries leave the range of numbers
    top = xp.where(top > 0, top, xp.ones_like(top))
    return device.get(sums), device.get(xp.sqrt(xp.sum((distance / top) ** 2, axis=0)) * top)


@dataclass(frozen=True)
class Moments:
    """Number of rows, sums of columns, and sums of squared distances from their means, of the blocks joined so far."""

    rows: int = 0
    sums: Any = 0.0
    squares: Any = 0.0

    def joined(self, block: Any) -> "Moments":
        """With the rows of another block, in double (Chan, Golub and LeVeque 1983: nothing cancels)."""
        sums, lengths = column_moments(block, np.dtype(np.result_type(block.dtype, np.float64)))
        rows, squares = block.shape[0], lengths**2
        if not self.rows:
            return Moments(rows, sums, squares)
        apart = np.abs(self.sums / self.rows - sums / rows) ** 2
        weight = self.rows * rows / (self.rows + rows)
        return Moments(self.rows + rows, self.sums + sums, self.squares + squares + weight * apart)

    @property
    def variances(self) -> np.ndarray:
        """Of the columns, over the number of rows."""
        return np.asarray(self.squares / self.rows)


def deviations(sums: np.ndarray, lengths: np.ndarray, rows: int, constant: float = 1.0) -> np.ndarray:
    """Standard deviations by `column_moments`; `constant` for columns that are constant to rounding.

    Those are columns whose deviation is at most ``rows eps |mean|``, for every method, however rows were cut: what
    adding them up may leave (scikit-learn's StandardScaler has the same rule).
    """
    deviation = lengths / np.sqrt(rows)
    noise = rows * np.finfo(float).eps * np.abs(sums / rows)
    return np.where(deviation > noise, deviation, constant)


def square_norm(block: Any, exact: bool = True, device: Device | None = None) -> float:
    """``||P||_F^2``, terms added in float64; or by runs of 1024 in the precision of P, which is quicker."""
    if sp.issparse(block):
        block = block.data
    if not isinstance(block, np.ndarray):
        xp = array_namespace(block)
        size = xp.abs(block)
        size = xp.astype(size, xp.float64) if exact else size
        return float((device or Device()).get(xp.sum(size * size)))
    flat = block.ravel(order="K")
    whole = flat.size - flat.size % SQUARE_RUN
    runs = flat[:whole].reshape(-1, SQUARE_RUN)
    double = np.dtype(np.complex128 if flat.dtype.kind == "c" else np.float64)
    kind = double if exact else flat.dtype
    parts = [flat[whole:][None]] + [runs[i : i + RUNS] for i in range(0, len(runs), RUNS)]
    with np.errstate(over="ignore"):  # the sum is infinite then, and says so
        squares = [np.vecdot(part, part).real for part in (part.astype(kind, copy=False) for part in parts)]
    return float(np.sum(np.concatenate(squares), dtype=np.float64))
