"""Singular triplets of a stream of rows, each seen once.

Of every panel ``Y_i = A_i Omega`` is kept and ``Z += A_i^H Y_i`` added up. With ``Y = Q S P^H`` that gives
``A^H Q = Z P S^{-1}``, so ``Q Q^H A`` follows without a second look at A: the randomized SVD of Halko, Martinsson and
Tropp 2011 without power iterations, in one read. As the rows of Y are kept, nothing needs to be solved for from a
second sketch, as it must where entries arrive in any order (Tropp, Yurtsever, Udell and Cevher 2019).

Accuracy is what one read can give: good where the spectrum falls fast or ends, and within a small factor of the best
in the Frobenius norm; where it falls slowly, no method of one read resolves single triplets. Rounding in Z, relative
to the largest singular value, is divided by the singular values of Y, so directions of Y below ``FLOOR = 1.5e-8``
of the largest are left out, and singular values below that are reported as 0 or not resolved.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.checks import check_count, check_flags
from svdflow.compute import to_numpy
from svdflow.compute.cluster_engine import as_engine
from svdflow.compute.engine import Engine, one_blas_thread
from svdflow.errors import NonFiniteError
from svdflow.matrix.integers import may_be_lossy, refuse_lossy
from svdflow.matrix.masks import unmasked
from svdflow.matrix.panels import PANEL_BYTES, non_finite_rows, panel_height
from svdflow.matrix.sources import MatrixSource
from svdflow.matrix.sparse import canonical_rows
from svdflow.svd.algorithm import Algorithm, Factorization
from svdflow.svd.plan import Plan, Target
from svdflow.svd.random_blocks import gaussian
from svdflow.svd.result import SVDResult
from svdflow.svd.sketch import Choose, Sketch, SketchPanel, SketchSums
from svdflow.svd.subspace import unit_scale
from svdflow.svd.widths import FIRST_BLOCK, OVERSAMPLING

# Rows of a panel at least, however wide the matrix, so that products are none with single vectors (chosen). Panels
# shape the sums, so another value gives other bits.
LEAST_ROWS = 16
# Magnitudes of entries outside of which all are scaled by a power of two: squares of those within, and
# sums of as many as there may be, stay far within the range of float64, 1e-308 to 1e308.
LEAST_PEAK, LARGEST_PEAK = 1e-100, 1e100


class SinglePassSVD:
    """Truncated SVD of a matrix whose rows arrive once, in any number at a time.

    Parameters
    ----------
    rank : int
        Triplets wanted, k; at most min(m, n) once all rows are seen.
    width : int, optional
        Columns of the sketch, l; ``2 k + 10`` by default, at most n. Ritz values gain from a wider one.
    n_features : int, optional
        Length of a row, n; otherwise that of the first rows.
    center : bool
        Subtract the column means.
    seed : int
        Of the test matrix (n, l), which depends on nothing else.
    engine : int, Engine or dask.distributed client, optional
        Where panels of one call are computed side by side.

    Notes
    -----
    Rows are gathered into panels whose height depends on n only, so the factors have the same bits however rows are
    cut into calls, for calls that are all dense or all sparse and of one dtype. Dense and sparse rows differ by
    rounding: a singular value s_i by about ``l eps s_1^2 / s_i``, so by less than ``l FLOOR s_1``. Memory: l numbers
    a row for the left factor, ``3 n l``, and one panel.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.outer(np.arange(1.0, 7.0), [2.0, 1.0, 2.0])
    >>> stream = SinglePassSVD(1)
    >>> for row in A:
    ...     _ = stream.partial_fit(row[None])
    >>> U, s, Vt = stream.result()
    >>> bool(abs(s[0] - np.linalg.norm(A)) < 1e-12 * s[0])
    True
    """

    def __init__(
        self,
        rank: int,
        *,
        width: int | None = None,
        n_features: int | None = None,
        center: bool = False,
        seed: int = 0,
        engine: Any = None,
    ) -> None:
        check_count("rank", rank)
        if width is not None:
            check_count("width", width)
        if n_features is not None:
            check_count("n_features", n_features)
        check_count("seed", seed, 0)
        check_flags(center=center)
        if width is not None and width < rank:
            raise ValueError(f"width {width} is below the rank {rank}; it must be that or more")
        self.rank, self.width, self.center, self.seed = rank, width, center, seed
        self.n_features: Any = n_features
        self.rows_seen = 0
        self._engine: Engine = as_engine(engine)
        self._dtype: Any = None
        self._task: Any = None  # a SketchPanel once the first panel is full
        self._sums: Any = None
        self._left: list[np.ndarray] = []  # Y, panel by panel
        self._pending: list[Any] = []  # rows that do not fill a panel yet

    def partial_fit(self, rows: Any) -> "SinglePassSVD":
        """Take the next rows.

        Parameters
        ----------
        rows : ndarray or SciPy sparse, shape (h, n), any h
            Integers, bool, floats or complex numbers; a stream is complex from its first rows on, or not at all.

        Raises
        ------
        ValueError
            Rows of another length, masked, integers that float64 does not hold, or complex ones after real ones. The
            stream is as it was before.
        NonFiniteError
            NaN or infinity; the message counts rows from the start of the stream. The stream is as it was before.
        """
        rows = self._checked(rows)
        full = []
        held = sum(part.shape[0] for part in self._pending)
        start = 0
        if held and held + rows.shape[0] >= self._height:
            start = self._height - held
            full, self._pending, held = [_joined([*self._pending, rows[:start]])], [], 0
        while not self._pending and rows.shape[0] - start >= self._height:
            full.append(rows[start : start + self._height])
            start += self._height
        if start < rows.shape[0]:
            self._pending.append(rows[start:].copy())  # the caller may use its buffer again
        self.rows_seen += rows.shape[0]
        if full:
            self._prepare(full)
            for Y, sums in self._engine.stream(self._task, full):
                self._left.append(Y)
                self._sums = sums if self._sums is None else self._sums.plus(sums)
        return self

    def result(self, sink: Callable[..., Any] | None = None) -> SVDResult:
        """Factors of the rows seen so far; more rows may follow.

        Parameters
        ----------
        sink : callable, optional
            ``sink((m, k), dtype)`` returns an object with ``write(start_row, rows)``, which takes U in order.

        Returns
        -------
        SVDResult
            ``U`` (m, k), or None where it went to the sink, ``s`` (k,), ``Vt`` (k, n) and a `SinglePassInfo`.

        Raises
        ------
        ValueError
            No rows yet, or fewer rows or columns than the rank.
        """
        return self.truncated(lambda s, total: self.rank, sink)

    def truncated(self, choose: Choose, sink: Callable[..., Any] | None = None) -> SVDResult:
        """`result` of the rank ``choose(s, ||A||_F^2)``, where s are all values of the sketch; None takes all."""
        if not self.rows_seen:
            raise ValueError("no rows were given yet; call partial_fit first")
        shape = (self.rows_seen, self.n_features)
        if self.rank > min(shape):
            raise ValueError(
                f"rank {self.rank} is above min(m, n) of the {shape[0]} x {shape[1]} matrix seen"
            )
        started, sums, left = self._task is not None, self._sums, self._left
        if self._pending:
            last = _joined(self._pending)
            self._prepare([last])
            with one_blas_thread():
                Y, tail = self._task(last)
            # Preparing may have changed the scale of what came before.
            sums, left = tail if self._sums is None else self._sums.plus(tail), [*self._left, Y]
        sketch = Sketch(
            self._task, sums, left, dtype=self._dtype, center=self.center, seed=self.seed, engine=self._engine
        )
        if not started:
            self._task = (
                None  # the pilot mean is that of the first full panel, whenever results are asked for
            )
        return sketch.factors(choose, sink)

    @property
    def _height(self) -> int:
        return max(LEAST_ROWS, panel_height((2**62, self.n_features), 8))

    def _checked(self, rows: Any) -> Any:
        where = f"stream, rows from {self.rows_seen}"
        rows = canonical_rows(rows, where) if sp.issparse(rows) else np.asarray(unmasked(rows, where))
        n = self.n_features if self.n_features is not None else rows.shape[-1]
        if rows.ndim != 2 or rows.shape[1] != n:
            raise ValueError(f"rows must have shape (h, {n}), not {rows.shape}")
        if rows.dtype.kind not in "biufc":
            raise ValueError(f"entries of dtype {rows.dtype} are not numbers")
        if self._dtype is not None and rows.dtype.kind == "c" and self._dtype.kind != "c":
            raise ValueError("complex rows after real ones; convert the first rows to complex too")
        values = rows.data if sp.issparse(rows) else rows
        if may_be_lossy(rows.dtype):
            refuse_lossy(values, where)
        with np.errstate(all="ignore"):
            doubtful = values.dtype.kind in "fc" and not np.isfinite(values.sum())
        if doubtful and not np.isfinite(values).all():
            dense = rows.toarray() if sp.issparse(rows) else rows
            raise NonFiniteError(f"stream: NaN or infinity in {non_finite_rows(dense, self.rows_seen)}")
        self.n_features = n
        self._dtype = rows.dtype if self._dtype is None else np.result_type(self._dtype, rows.dtype)
        return rows

    def _prepare(self, blocks: list[Any]) -> None:
        """Test matrix, scale and pilot mean from the first panel; another scale where entries outgrow it."""
        if self._task is None:
            width = min(self.n_features, self.width or 2 * self.rank + 10)
            wide = np.result_type(self._dtype, np.float64)
            self._task = SketchPanel(gaussian(self.seed, self.n_features, width, dtype=wide))
            if self.center and not sp.issparse(blocks[0]):
                first = blocks[0].astype(self._task.Omega.dtype)
                self._task = replace(self._task, shift=(first / len(first)).sum(axis=0))
        self._rescale(max(_peak(block) for block in blocks))

    def _rescale(self, peak: float) -> None:
        """Another power of two as scale where squares would leave the range of numbers."""
        task, sums = self._task, self._sums
        met = sums is not None and sums.norm_squared > 0
        if not peak or not (peak > LARGEST_PEAK / task.scale or (not met and peak < LEAST_PEAK / task.scale)):
            return
        scale = unit_scale(peak, task.Omega.dtype)
        ratio = scale / task.scale
        shift = None if task.shift is None else task.shift * ratio
        self._task = replace(task, scale=scale, shift=shift)
        if met:
            self._sums = SketchSums(
                sums.product * ratio**2, sums.norm_squared * ratio**2, sums.column_sums * ratio
            )
            self._left = [Y * ratio for Y in self._left]


def single_pass_svd(
    source: MatrixSource,
    choose: Choose,
    width: int,
    *,
    center: bool = False,
    seed: int = 0,
    engine: Any = None,
    sink: Any = None,
) -> SVDResult:
    """Factors of a source whose rows are read once, in order, while the rows before them are computed with.

    Parameters
    ----------
    source : MatrixSource, shape (m, n)
    choose : callable
        The rank from all singular values of the sketch and ``||A||_F^2``, as `Target.choose`; None takes all.
    width : int
        Columns of the sketch, at least the rank.
    sink : callable, optional
        As in `factorize`.

    Returns
    -------
    SVDResult
        With a `SinglePassInfo`; the same bits as from `SinglePassSVD` fed with the same rows.
    """
    stream = SinglePassSVD(
        1, width=width, n_features=source.shape[1], center=center, seed=seed, engine=engine
    )
    height = stream._height * stream._engine.threads * 2
    m = source.shape[0]
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(source.read, 0, min(height, m))
        for start in range(height, m + height, height):
            rows = ahead.result()
            if start < m:
                ahead = reader.submit(source.read, start, min(start + height, m))
            stream.partial_fit(rows if sp.issparse(rows) else to_numpy(rows))
    return stream.truncated(choose, sink)


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if all(sp.issparse(part) for part in parts):
        return sp.vstack(parts, format="csr")
    return np.concatenate([part.toarray() if sp.issparse(part) else part for part in parts])


def _peak(block: Any) -> float:
    """Largest magnitude, where the dtype allows one whose square is out of range."""
    values = block.data if sp.issparse(block) else block
    if values.dtype.kind not in "fc" or values.dtype in (np.float16, np.float32, np.complex64):
        return 1.0
    return float(np.abs(values).max(initial=0.0))


class SinglePass(Algorithm):
    """``single_pass``: on NumPy, whatever the engine is."""

    least_reads = 1

    def check(self, source: MatrixSource, *, scale: bool) -> None:
        if scale:
            raise ValueError(
                f"{source.name}: scale=True needs deviations before the first product, and method 'single_pass' reads "
                "only once; take method 'auto', or divide the columns first"
            )

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        rank = target.rank or FIRST_BLOCK
        return (min(min(tall.shape), max(rank, block_size or 2 * rank + OVERSAMPLING)),)

    def memory(self, plan: Plan, threads: int, *, keep_factor: bool = True) -> int:
        (m, n), width, wide = plan.tall.shape, max(plan.widths), plan.wide.itemsize
        return int(m * width * wide + 4 * n * width * wide + 4 * threads * PANEL_BYTES)

    def factorize(self, task: Factorization) -> SVDResult:
        plan = task.plan
        return single_pass_svd(
            task.source,
            plan.target.choose,
            plan.widths[0],
            center=plan.center is not None,
            seed=task.seed,
            engine=task.engine,
            sink=task.sink,
        )
