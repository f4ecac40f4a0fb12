"""Matrices that are known by their products only."""

from math import isfinite
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.checks import is_number
from svdflow.errors import NonFiniteError
from svdflow.matrix.checked_products import CheckedProduct, Count, Product
from svdflow.matrix.sources import ArraySource, MatrixSource, _check_matrix
from svdflow.matrix.sparse import canonical_rows

# Columns that a row of the factors has, for the height of the bands in which these are made: an operator has no panels
# of its own. It is about a rank of 50; another value gives bands of another height, and so other bits (chosen).
BAND_COLUMNS = 64
# Unit vectors that are multiplied at a time where entries are asked for (chosen: a block as wide as those of a search).
UNIT_COLUMNS = 64


class OperatorSource(MatrixSource):
    """A matrix A (m, n) that is known by its products ``A X`` and ``A^H Y`` only.

    Parameters
    ----------
    shape : (m, n)
    dtype : dtype
        Of products: float32, float64, complex64 or complex128. Other real types count as float64, but float16 as
        float32.
    matmat : callable
        ``matmat(X)`` is ``A X``, an array of shape (m, b), for X of shape (n, b), C order, any b. X has that dtype, or
        its double where the last read of an operator in single precision asks for more digits.
    rmatmat : callable
        ``rmatmat(Y)`` is ``A^H Y``, shape (n, b), for Y of shape (m, b): of a complex A the conjugate transpose.
    norm_squared : float, optional
        ``||A||_F^2``, where it is known. Without it the Frobenius figures of a factorization are estimates.
    name : str
        For messages.

    Attributes
    ----------
    columns_multiplied : int
        Columns of all X and Y so far.
    mean : ndarray, shape (n,), or None
        What `centred` took off the rows.

    Raises
    ------
    ValueError
        No matrix of numbers, or a norm that is none.
    TypeError
        `matmat` or `rmatmat` cannot be called.

    Notes
    -----
    Both functions are called by one thread at a time, in the process of the caller, with one BLAS thread. They must
    give the same numbers whenever they are called. What they give is checked: shape, precision, NaN and infinity
    (`SourceError`, `NonFiniteError`), and in the first read of a factorization that `rmatmat` is the adjoint of
    `matmat`.

    Examples
    --------
    Of a matrix of rank 1 that is never formed:

    >>> import numpy as np
    >>> from svdflow import truncated_svd
    >>> u, v = np.arange(1.0, 3001.0)[:, None], np.ones((2000, 1))
    >>> A = OperatorSource((3000, 2000), float, lambda X: u @ (v.T @ X), lambda Y: v @ (u.T @ Y))
    >>> s = truncated_svd(A, rank=1).s
    >>> bool(abs(s[0] - np.linalg.norm(u) * np.linalg.norm(v)) < 1e-9 * s[0])
    True
    """

    matrix_free = True
    in_memory = True
    mean: np.ndarray | None = None
    column_access = True
    keeps_promises = True

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: Any,
        matmat: Product,
        rmatmat: Product,
        *,
        norm_squared: float | None = None,
        name: str = "operator",
    ) -> None:
        _check_matrix(tuple(shape), dtype, name)
        for word, function in (("matmat", matmat), ("rmatmat", rmatmat)):
            if not callable(function):
                raise TypeError(f"{name}: {word} must be a function of a block of vectors, not {function!r}")
        if norm_squared is not None and not (is_number(norm_squared) and norm_squared >= 0):
            raise ValueError(f"{name}: norm_squared must be 0 or positive, and finite, not {norm_squared!r}")
        self.shape, self.name = (int(shape[0]), int(shape[1])), name
        self.dtype = _product_dtype(np.dtype(dtype))
        self.norm_squared = None if norm_squared is None else float(norm_squared)
        # The largest term of the sum that the norm came from: it tells what rounding that may have.
        self.uncentred = self.norm_squared or 0.0
        self.density = min(1.0, BAND_COLUMNS / self.shape[1])
        self._count = Count()
        given = self.dtype, name, self._count
        self._matmat = CheckedProduct(matmat, "matmat", self.shape[0], *given)
        self._rmatmat = CheckedProduct(rmatmat, "rmatmat", self.shape[1], *given)

    @classmethod
    def of(cls, A: Any, *, norm_squared: float | None = None, name: str | None = None) -> "OperatorSource":
        """An operator of what has products.

        Parameters
        ----------
        A : OperatorSource, LinearOperator, ndarray, SciPy sparse matrix, or pair (L, R)
            Anything with shape, dtype, ``matmat`` and ``rmatmat`` counts as a LinearOperator. A pair of arrays
            (m, r) and (r, n) stands for their product ``L R``, which is not formed.
        norm_squared : float, optional
            ``||A||_F^2``; of arrays, sparse matrices and pairs it is computed.

        Raises
        ------
        TypeError
            It is none of these.
        ValueError
            The sides of a pair do not fit, and as of the class.
        """
        if isinstance(A, cls):
            if norm_squared is None:
                return A
            return cls(
                A.shape, A.dtype, A.times, A.adjoint_times, norm_squared=norm_squared, name=name or A.name
            )
        if isinstance(A, tuple) and len(A) == 2:
            return _low_rank(*A, name or "low-rank matrix", norm_squared)
        if sp.issparse(A) or isinstance(A, np.ndarray):
            return _explicit(A, name or "matrix", norm_squared)
        if is_operator(A):
            dtype = A.dtype if A.dtype is not None else np.float64
            return cls(
                A.shape, dtype, A.matmat, A.rmatmat, norm_squared=norm_squared, name=name or type(A).__name__
            )
        raise TypeError(
            f"no operator: {type(A).__module__}.{type(A).__qualname__} is neither a matrix nor has matmat and rmatmat"
        )

    @classmethod
    def sum(cls, *parts: Any, norm_squared: float | None = None, name: str = "sum") -> "OperatorSource":
        """The sum of matrices, operators and low-rank products, such as ``sum(S, (L, R))``, of which none is formed.

        Parameters
        ----------
        *parts
            Each what `of` takes, all of one shape.
        norm_squared : float, optional
            Of the sum. It is computed where one part at most is no pair, and its norm known: that takes one product
            with all columns of L.

        Raises
        ------
        ValueError
            Shapes differ, or there are no parts.
        """
        if not parts:
            raise ValueError(f"{name}: give at least one part")
        terms = [cls.of(part) for part in parts]
        shapes = {term.shape for term in terms}
        if len(shapes) > 1:
            raise ValueError(
                f"{name}: parts have the shapes {', '.join(map(str, sorted(shapes)))}; they must be equal"
            )
        dtype = np.result_type(*(term.dtype for term in terms))
        total = cls(
            terms[0].shape,
            dtype,
            lambda X: sum(term.times(X) for term in terms),
            lambda Y: sum(term.adjoint_times(Y) for term in terms),
            norm_squared=norm_squared,
            name=name,
        )
        pairs = [part for part in parts if isinstance(part, tuple)]
        others = [term for term, part in zip(terms, parts, strict=True) if not isinstance(part, tuple)]
        if (
            norm_squared is None
            and len(others) <= 1
            and all(term.norm_squared is not None for term in others)
        ):
            total.norm_squared, total.uncentred = _norm_of_sum(others, pairs)
        return total

    def scaled(self, rows: Any = None, columns: Any = None) -> "OperatorSource":
        """``diag(rows) A diag(columns)``; numbers or arrays of shape (m,) and (n,), 1 by default.

        Raises
        ------
        ValueError
            Another shape.
        """
        m, n = self.shape
        left, right = (
            np.broadcast_to(np.asarray(1.0 if factors is None else factors), side)
            for factors, side in ((rows, (m,)), (columns, (n,)))
        )
        dtype = np.result_type(self.dtype, *(np.complex64 for f in (left, right) if f.dtype.kind == "c"))

        def matmat(X: np.ndarray) -> np.ndarray:
            return left[:, None] * self.times(_as_precise(right[:, None] * X, X))

        def rmatmat(Y: np.ndarray) -> np.ndarray:
            return right.conj()[:, None] * self.adjoint_times(_as_precise(left.conj()[:, None] * Y, Y))

        return OperatorSource(self.shape, dtype, matmat, rmatmat, name=self.name)

    def centred(self, mean: Any = None) -> "OperatorSource":
        """``A - 1 mean^T``, of shape (n,): the column means, which one product gives, or another row.

        Raises
        ------
        ValueError
            Another shape.
        """
        m, n = self.shape
        own = mean is None
        mu = self.column_means() if own else np.broadcast_to(np.asarray(mean), (n,))
        dtype = np.result_type(self.dtype, np.complex64) if mu.dtype.kind == "c" else self.dtype

        def matmat(X: np.ndarray) -> np.ndarray:
            return self.times(X) - _as_precise(mu @ X, X)

        def rmatmat(Y: np.ndarray) -> np.ndarray:
            return self.adjoint_times(Y) - _as_precise(np.outer(mu.conj(), Y.sum(axis=0)), Y)

        known = self.norm_squared if own else None
        if known is not None:  # ||A - 1 mu^T||^2 = ||A||^2 - m |mu|^2
            known = max(0.0, known - m * float(np.vdot(mu, mu).real))
        out = OperatorSource(self.shape, dtype, matmat, rmatmat, norm_squared=known, name=self.name)
        out.mean = mu
        out.uncentred = max(self.uncentred, m * float(np.vdot(mu, mu).real))
        return out

    def column_means(self) -> np.ndarray:
        """Shape (n,), by one product of `rmatmat`."""
        wide = np.result_type(self.dtype, np.float64)
        return np.asarray(
            self.adjoint_times(np.ones((self.shape[0], 1), wide))[:, 0].conj() / self.shape[0], wide
        )

    def adjoint(self) -> "OperatorSource":
        """``A^H``; products count together."""
        m, n = self.shape
        out = OperatorSource(
            (n, m), self.dtype, self.times, self.times, norm_squared=self.norm_squared, name=self.name
        )
        out._matmat, out._rmatmat, out._count = self._rmatmat, self._matmat, self._count
        out.uncentred = self.uncentred
        return out

    @property
    def columns_multiplied(self) -> int:
        return self._count.columns

    def times(self, X: np.ndarray) -> np.ndarray:
        """``A X``, shape (m, b), in the precision that `matmat` gives; X of shape (n, b)."""
        return self._matmat(X)

    def adjoint_times(self, Y: np.ndarray) -> np.ndarray:
        """``A^H Y``, shape (n, b), in the precision that `rmatmat` gives; Y of shape (m, b)."""
        return self._rmatmat(Y)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start:stop``, by as many products of `rmatmat`."""
        columns = self.adjoint_times(_units(self.shape[0], start, stop, self.dtype))
        return np.ascontiguousarray(columns.conj().T, self.dtype)

    def read_columns(self, start: int, stop: int) -> np.ndarray:
        """Columns ``start:stop``, by as many products of `matmat`."""
        return self.times(_units(self.shape[1], start, stop, self.dtype)).astype(self.dtype, copy=False)

    def formed(self) -> ArraySource:
        """All entries, by min(m, n) products."""
        m, n = self.shape
        if m < n:
            rows = range(0, m, UNIT_COLUMNS)
            entries = np.concatenate([self.read(i, min(i + UNIT_COLUMNS, m)) for i in rows])
        else:
            columns = range(0, n, UNIT_COLUMNS)
            entries = np.concatenate(
                [self.read_columns(i, min(i + UNIT_COLUMNS, n)) for i in columns], axis=1
            )
        return ArraySource(entries, self.name)


def is_operator(A: Any) -> bool:
    """Whether it has the products of a `scipy.sparse.linalg.LinearOperator`."""
    return all(callable(getattr(A, word, None)) for word in ("matmat", "rmatmat")) and hasattr(A, "shape")


def _product_dtype(dtype: np.dtype) -> np.dtype:
    single = dtype in (np.float16, np.float32, np.complex64)
    if dtype.kind == "c":
        return np.dtype(np.complex64 if single else np.complex128)
    return np.dtype(np.float32 if single else np.float64)


def _as_precise(values: np.ndarray, X: np.ndarray) -> np.ndarray:
    """In the precision of X, but complex where they are."""
    complex_ = values.dtype.kind == "c" and X.dtype.kind != "c"
    return values.astype(np.result_type(X, np.complex64) if complex_ else X.dtype, copy=False)


def _units(rows: int, start: int, stop: int, dtype: np.dtype) -> np.ndarray:
    out = np.zeros((rows, stop - start), dtype)
    out[np.arange(start, stop), np.arange(stop - start)] = 1
    return out


def _explicit(A: Any, name: str, norm_squared: float | None) -> OperatorSource:
    """Of entries that are there."""
    _check_matrix(A.shape, A.dtype, name)
    dtype = _product_dtype(np.dtype(A.dtype))
    A = (canonical_rows(A, name) if sp.issparse(A) else A).astype(dtype, copy=False)
    adjoint = A.conj().T if dtype.kind == "c" else A.T
    if norm_squared is None:
        values = np.asarray(A.data if sp.issparse(A) else A, np.result_type(dtype, np.float64))
        norm_squared = float(np.vdot(values, values).real)
        if not isfinite(norm_squared):
            raise NonFiniteError(f"{name}: NaN, infinity, or entries above 1e150")
    return OperatorSource(
        A.shape, dtype, lambda X: A @ X, lambda Y: adjoint @ Y, norm_squared=norm_squared, name=name
    )


def _low_rank(L: Any, R: Any, name: str, norm_squared: float | None) -> OperatorSource:
    """``L R``, unformed."""
    L, R = np.asarray(L), np.asarray(R)
    if L.ndim != 2 or R.ndim != 2 or L.shape[1] != R.shape[0]:
        raise ValueError(f"{name}: a pair has the shapes (m, r) and (r, n), not {L.shape} and {R.shape}")
    dtype = _product_dtype(np.result_type(L, R))
    if norm_squared is None:
        norm_squared = _norm_of_sum([], [(L, R)])[0]
    return OperatorSource(
        (L.shape[0], R.shape[1]),
        dtype,
        lambda X: L @ (R @ X),
        lambda Y: R.conj().T @ (L.conj().T @ Y),
        norm_squared=norm_squared,
        name=name,
    )


def _norm_of_sum(others: list[OperatorSource], pairs: list[Any]) -> tuple[float, float]:
    """``||S + L R||^2``, and the sum of the squares of both, which tells what rounding it may have."""
    norms = sum(term.norm_squared or 0.0 for term in others)
    if not pairs:
        return norms, norms
    wide = np.result_type(np.float64, *(np.asarray(side) for pair in pairs for side in pair))
    L = np.concatenate([np.asarray(pair[0], wide) for pair in pairs], axis=1)
    R = np.concatenate([np.asarray(pair[1], wide) for pair in pairs])
    low = float(np.vdot(R, (L.conj().T @ L) @ R).real)
    # <L R, S> = <R, L^H S>
    cross = sum(float(np.vdot(R, term.adjoint_times(L).conj().T).real) for term in others)
    return max(0.0, norms + 2 * cross + low), norms + low
