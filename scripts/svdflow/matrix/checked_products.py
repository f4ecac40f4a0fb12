"""What the functions of an operator give is checked as it comes: shape, precision, and that it is finite."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.compute import to_numpy
from svdflow.errors import NonFiniteError, SourceError
from svdflow.matrix.panels import name_rows

# What calling a product says that a SciPy LinearOperator was not given.
MISSING = "'NoneType' object is not callable"
Product = Callable[[np.ndarray], Any]


@dataclass
class Count:
    """Columns that were multiplied so far."""

    columns: int = 0


@dataclass(frozen=True)
class CheckedProduct:
    """A function of blocks of vectors, held to what it promises.

    Attributes
    ----------
    function : callable
    word : str
        What it is called, for messages.
    rows : int
        Of what it gives.
    dtype : dtype
        Of the operator: float32, float64, complex64 or complex128.
    name : str
        Of the operator.
    count : Count
        Goes up with every column.
    """

    function: Product
    word: str
    rows: int
    dtype: np.dtype
    name: str
    count: Count

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """The product, shape (rows, b), in the precision of X, or of the operator where the function gives no more.

        Raises
        ------
        SourceError
            There is no such product, or it has another shape, less precision, or is complex of a real operator.
        NonFiniteError
            It holds NaN or infinity.
        """
        if X.dtype.kind == "c" and self.dtype.kind != "c":
            parts = self(np.concatenate([X.real, X.imag], axis=1))
            return np.asarray(parts[:, : X.shape[1]] + 1j * parts[:, X.shape[1] :])
        self.count.columns += X.shape[1]
        # Copies: a function may write into what it is given, and give the same buffer every time.
        try:
            out = self.function(np.array(X, order="C"))
        except (NotImplementedError, TypeError) as error:
            if isinstance(error, TypeError) and MISSING not in str(error):
                raise
            raise SourceError(
                f"{self.name}: has no {self.word} ({error}); a factorization needs both, A X and A^H Y"
            ) from error
        where = f"{self.name}: {self.word} of a block of shape {X.shape}"
        if sp.issparse(out) or not hasattr(out, "shape"):
            raise SourceError(f"{where} came as {type(out).__name__}; return an array")
        out, due = to_numpy(out), (self.rows, X.shape[1])
        if out.shape != due:
            raise SourceError(f"{where} came with shape {out.shape}, where {due} is due")
        self._refuse_dtype(out.dtype, where)
        less = out.dtype.kind in "fc" and np.finfo(out.dtype).eps > np.finfo(X.dtype).eps
        out = np.array(out, self.dtype if less else np.result_type(X, self.dtype), order="C")
        with np.errstate(over="ignore", invalid="ignore"):
            energy = np.vdot(out, out)
        if not np.isfinite(energy) and not np.isfinite(out).all():
            bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
            raise NonFiniteError(
                f"{where} of finite numbers gave NaN or infinity, in {name_rows(bad)} (counted from 0)"
            )
        return out

    def _refuse_dtype(self, dtype: np.dtype, where: str) -> None:
        if dtype.kind not in "biufc" or (dtype.kind == "c") > (self.dtype.kind == "c"):
            raise SourceError(f"{where} came as {dtype}, where {self.dtype} was promised; say so in dtype=")
        if dtype.kind in "fc" and np.finfo(dtype).eps > np.finfo(self.dtype).eps:
            raise SourceError(
                f"{where} came as {dtype}, where {self.dtype} was promised: figures would claim digits that it lacks; "
                f"say dtype={str(dtype)!r}, or compute in more"
            )
