"""From the peers' arguments to the engine's: as accurate as they say, in fewer reads.

The peers sketch l = k + n_oversamples columns and iterate q times. Their left subspace is the range of
``(A A^H)^q A X``: a filter ``x^(2q+1)`` of the singular values, for 2q + 2 reads. Fused block Krylov holds after t
reads every odd polynomial of degree up to n = 2t - 1 of the same sketch, and its last read, for U, multiplies the Ritz
vectors by ``A A^H`` once more.

- With t = q + 1 its space contains the peers', so it is never worse.
- Fewer do. The peers can use no more than ``x^(2q+1) = 1/sqrt(eps)``, which drowns the rest in rounding; there
  ``x^2 T_n(x)``, of the Chebyshev polynomial, must be as large. For x = cosh u the ratio ``log T_n / log x =
  log cosh(n u) / log cosh(u)`` falls in u, so it is then the steeper filter at every smaller gap too. (Musco and
  Musco 2015, section 3.2; Halko, Martinsson and Tropp 2011, section 9.3.)
  The power damps the far tail more than the Chebyshev polynomial does; that Krylov, which takes the best polynomial
  of all, loses nothing by it is measured (tests/unit/test_compat.py), not proved.
- For q <= 1 a subspace iteration of q + 2 reads does: one of r reads filters by ``x^(2r-1)``, as much as the peers
  do with 2r reads.

So the reads for q = 0, 1, 2, 4 and 7 are 2, 3, 4, 4 and 5 in float32, or 2, 3, 4, 5 and 6 in float64, where the peers
take 2, 4, 6, 10 and 16. The Krylov search ends sooner where rounding is all that still moves the singular values.
"""

import math

import numpy as np
import scipy.sparse as sp

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.arguments import MOST_READS
from svdflow.svd.factorization import factorize
from svdflow.svd.plan import Target, choose_method
from svdflow.svd.result import SVDResult

# Up to SUBSPACE_ITERATIONS power iterations of the peers a subspace iteration does, which keeps one block only; up to
# CONTAINED as many reads are made as the space that contains theirs takes, and above fewer. The module's docstring says
# why, and tests/unit/test_compat.py holds the errors against the peers'.
SUBSPACE_ITERATIONS, CONTAINED = 1, 2


def reads_for(n_iter: int, eps: float) -> int:
    """Reads of A, the one for U included, that are at least as accurate as `n_iter` power iterations of the peers.

    Parameters
    ----------
    n_iter : int
        Power iterations q, at least 0.
    eps : float
        Machine epsilon of the precision that the iteration runs in.
    """
    if n_iter <= CONTAINED:
        return n_iter + 2
    power = 2 * n_iter + 1
    steepest = (1 / math.sqrt(eps)) ** (1 / power)
    degree = math.acosh(steepest ** (power - 2)) / math.acosh(steepest)
    return min(MOST_READS, math.ceil((math.ceil(degree) + 1) / 2) + 1)


def decompose(
    source: MatrixSource, rank: int, *, n_oversamples: int, n_iter: int, seed: int, center: bool = False
) -> SVDResult:
    """Factors at least as accurate as the peers' with the same arguments.

    Where LAPACK or one read of ``A^H A`` costs less, they are exact instead. U and Vt have the precision of
    `peer_dtype`.
    """
    source = in_peer_precision(source)
    method = choose_method(source, Target(rank=rank))
    if method in ("full", "gram"):
        return factorize(source, rank, method=method, center=center, seed=seed)
    return factorize(
        source,
        rank,
        method="rsvd" if n_iter <= SUBSPACE_ITERATIONS else "krylov",
        block_size=min(rank + n_oversamples, *source.shape),
        max_reads=reads_for(n_iter, float(np.finfo(peer_dtype(source.dtype)).eps)),
        tol=0.0,
        center=center,
        seed=seed,
    )


def narrowed(values: np.ndarray, dtype: np.dtype, what: str) -> np.ndarray:
    """Values in the precision in which the peers answer.

    Raises
    ------
    OverflowError
        One of them is no number of that precision.
    """
    top = float(np.abs(values).max(initial=0.0))
    if top > float(np.finfo(dtype).max):
        raise OverflowError(f"{what} reach {top:.1e}, more than {dtype} holds; convert the matrix to float64")
    return values.astype(dtype, copy=False)


def peer_dtype(dtype: np.dtype) -> np.dtype:
    """Precision in which the peers answer: that of float32 and complex64 is kept, all else is double."""
    if dtype in (np.float32, np.complex64):
        return np.dtype(dtype)
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def in_peer_precision(source: MatrixSource) -> MatrixSource:
    """The source, read as doubles where the engine would take float32 to be enough for it (float16, small integers)."""
    exact_in_single = source.dtype == np.float16 or (
        source.dtype.kind in "biu" and source.dtype.itemsize <= 2
    )
    return _WidenedSource(source) if exact_in_single else source


class _WidenedSource(MatrixSource):
    """A source whose panels come as float64; a dense one is never converted as a whole."""

    keeps_promises = True

    def __init__(self, source: MatrixSource) -> None:
        self._source = source
        self.shape, self.dtype, self.name = source.shape, np.dtype(np.float64), source.name
        self.sparse, self.in_memory, self.density = source.sparse, source.in_memory, source.density
        self.row_bands, self.column_bands = source.row_bands, source.column_bands
        self.column_access = source.column_access
        self.path = getattr(source, "path", None)  # known, so that changes of the file are noticed

    def read(self, start: int, stop: int) -> object:
        return self._source.read(start, stop).astype(np.float64)

    def read_columns(self, start: int, stop: int) -> object:
        return self._source.read_columns(start, stop).astype(np.float64)

    def csr(self) -> sp.csr_array:
        return self._source.csr().astype(np.float64)

    def csc(self) -> sp.csc_array:
        return self._source.csc().astype(np.float64)
